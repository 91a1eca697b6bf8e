// Faults put between the trainer and its operations or messages, each as a programming error would be.
#pragma once

#include "tests/mpi/support.hpp"

namespace tw::train {

enum class Fault : std::uint8_t {
  none,
  dropped_reduce,
  swapped_group,
  wrong_scale,
  stale_gather,
  missing_shared_sum,
  missing_copies,
  lost_weight_gradient,
  lost_micro_batch,
  wrong_positions,
  dropped_partial_sum,
  dropped_score,
  lost_ring_block,
  lost_ring_gradient,
  swapped_heads,
  wrong_permutation,
  shifted_dispatch,
  lost_probability_gradient,
  local_balance,
  stale_boundary,
  local_norm,
  skipped_update
};

struct FaultCase {
  Fault fault;
  std::string_view name;
  Case one;
};
std::span<const FaultCase> fault_cases();

// Passes messages on, except those that the fault changes while the current step is of its kind.
class FaultyMessages final : public Messages {
 public:
  FaultyMessages(Messages& inner, Fault fault) : inner_(inner), fault_(fault) {}
  const Step* step = nullptr;
  Operator what = Operator::wait;  // of an operation

  Rank self() const override { return inner_.self(); }
  void all_gather(Group group, const void* piece, std::int64_t bytes, void* whole) override;
  void all_gather_v(Group group, const void* piece, Sizes bytes, void* whole) override {
    inner_.all_gather_v(group, piece, bytes, whole);
  }
  void all_to_all_v(Group group, const void* out, Sizes out_bytes, void* in, Sizes in_bytes) override {
    inner_.all_to_all_v(group, out, out_bytes, in, in_bytes);
  }
  void all_reduce(Group group, double* values, std::int64_t count) override;
  void all_reduce(Group group, float* values, std::int64_t count) override {
    inner_.all_reduce(group, values, count);
  }
  void reduce_scatter(Group group, const double* whole, Sizes counts, double* piece) override {
    inner_.reduce_scatter(group, whole, counts, piece);
  }
  void reduce_scatter(Group group, const float* whole, Sizes counts, float* piece) override {
    inner_.reduce_scatter(group, whole, counts, piece);
  }
  void send(Rank to, std::int32_t tag, const void* data, std::int64_t bytes) override {
    inner_.send(to, tag, data, bytes);
  }
  void receive(Rank from, std::int32_t tag, void* data, std::int64_t bytes) override {
    inner_.receive(from, tag, data, bytes);
  }
  void finish_sends() override { inner_.finish_sends(); }

 private:
  bool in(Action action) const { return step != nullptr && step->action == action; }
  Messages& inner_;
  Fault fault_;
};

// Also writes down what was done, in order.
class FaultyEngine {
 public:
  using Inner = TensorEngine<double>;
  using Value = Inner::Value;
  using Call = Inner::Call;
  FaultyEngine(const View& view, FaultyMessages& messages, Fault fault, const Data& data)
      : view_(view), messages_(messages), fault_(fault), inner_(view, messages, test_settings(), data) {}

  void begin_step() { inner_.begin_step(), done.clear(); }
  void end_step() { messages_.step = nullptr, inner_.end_step(); }
  void op(const Step& step, Call& call);
  void act(const Step& step);
  void send(const Step& step, const Value& value, std::int32_t boundary);
  Value receive(const Step& step, std::int32_t boundary);
  void forget(std::int32_t unit, std::int32_t microbatch) { inner_.forget(unit, microbatch); }
  const Losses& losses() const { return inner_.losses(); }
  double gradient_norm() const { return inner_.gradient_norm(); }
  std::vector<double> collect(Field field, const NamedWeight& weight) {
    return inner_.collect(field, weight);
  }

  std::vector<std::string> done;  // in words

 private:
  bool skips(const Step& step, const Call& call) const;
  void spoil(const Step& step, Call& call) const;

  const View& view_;
  FaultyMessages& messages_;
  Fault fault_;
  Inner inner_;
  Value last_received_;
};

}  // namespace tw::train
