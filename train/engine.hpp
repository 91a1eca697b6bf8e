// The engine of real tensors: operations on values, values between stages, and the states of units.
#pragma once

#include "train/operations.hpp"

namespace tw::train {

// InputError where a model has what the operators do not do.
void refuse(const Model& model);

template <class T>
class TensorEngine {
 public:
  using Value = Handle<T>;
  using Call = OpCall<T>;
  using Kept = cpu::Acc<T>;  // master weights and moments
  TensorEngine(const View& view, Messages& messages, const Settings& settings, const Data& data);

  void begin_step();
  void end_step();
  void op(const Step& step, Call& call);
  void act(const Step& step);
  void send(const Step& step, const Value& value, std::int32_t boundary);
  Value receive(const Step& step, std::int32_t boundary);
  void forget(std::int32_t unit, std::int32_t microbatch) { operations_.forget(unit, microbatch); }
  std::int64_t state_bytes() const { return operations_.state_bytes(); }

  const View& view() const { return view_; }
  Messages& messages() { return messages_; }
  const Settings& settings() const { return operations_.settings(); }
  const Data& data() const { return operations_.data(); }

  // Of the step that ended, over all ranks.
  const Losses& losses() const { return total_; }
  double gradient_norm() const { return norm_; }
  // The whole of a weight, on every rank; all ranks ask together. Gradients as they were before clipping.
  std::vector<double> collect(Field field, const NamedWeight& weight);
  // The states of a weight from the whole; the last call is followed by refresh().
  void restore(Field field, const NamedWeight& weight, std::span<const double> whole);
  void refresh();
  std::int64_t steps_done() const { return operations_.step; }
  void set_steps_done(std::int64_t steps) { operations_.step = steps; }

 private:
  std::int32_t tag(const Step& step, std::int32_t boundary) const;
  void sum_copies(std::int32_t unit);
  void clip();

  const View& view_;
  Messages& messages_;
  Operations<T> operations_;
  Losses total_;
  double norm_ = 0, scale_ = 1;
};

}  // namespace tw::train
