// Faults put between the trainer and its operations or messages, each as a programming error would be.
#pragma once

#include "tests/mpi/forwarding.hpp"
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
  narrow_operation,
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
class FaultyMessages final : public Forwarding {
 public:
  FaultyMessages(Messages& inner, Fault fault) : Forwarding(inner), fault_(fault) {}
  const Step* step = nullptr;
  Operator what = Operator::wait;  // of an operation

  void all_gather(Group group, const void* piece, std::int64_t bytes, void* whole) override;
  void all_reduce(Group group, double* values, std::int64_t count) override { reduce(group, values, count); }
  void all_reduce(Group group, float* values, std::int64_t count) override { reduce(group, values, count); }

 private:
  template <class A>
  void reduce(Group group, A* values, std::int64_t count);
  bool in(Action action) const { return step != nullptr && step->action == action; }
  Fault fault_;
};

// Also writes down what was done, in order.
template <class T>
class FaultyEngine {
 public:
  using Inner = TensorEngine<T>;
  using Value = typename Inner::Value;
  using Call = typename Inner::Call;
  FaultyEngine(const View& view, FaultyMessages& messages, Fault fault, const Settings& settings,
               const Data& data)
      : view_(view), messages_(messages), fault_(fault), inner_(view, messages, settings, data) {}

  void begin_step() { inner_.begin_step(), done.clear(); }
  void end_step() { messages_.step = nullptr, inner_.end_step(); }
  void op(const Step& step, Call& call);
  void act(const Step& step);
  void send(const Step& step, const Value& value, std::int32_t boundary);
  Value receive(const Step& step, std::int32_t boundary);
  void forget(std::int32_t unit, std::int32_t microbatch) { inner_.forget(unit, microbatch); }
  std::int64_t state_bytes() const { return inner_.state_bytes(); }
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
