#include "tests/mpi/faults.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace tw::train {
namespace {

const FaultCase kCases[] = {
    {Fault::dropped_reduce, "gradients of one replica alone", {"dense", "dp=2,tp=2", 4}},
    {Fault::swapped_group, "gradients summed over the wrong ranks", {"dense", "dp=2,tp=2", 4}},
    {Fault::wrong_scale, "a loss gradient 1 % too large on one rank", {"dense", "dp=4,zero=2", 4}},
    {Fault::stale_gather, "parameters not gathered after an update", {"dense", "dp=4,zero=1", 4}},
    {Fault::missing_shared_sum, "norm gradients of one part of the tokens", {"dense", "tp=4,sp=1", 4}},
    {Fault::missing_copies, "a tied table's gradient of one stage", {"tied", "pp=4", 4}},
    {Fault::lost_weight_gradient, "one weight gradient not made", {"dense", "pp=2,tp=2", 4}},
    {Fault::lost_micro_batch, "weight gradients of one micro-batch lost", {"dense", "dp=2,pp=2", 4}},
    {Fault::wrong_positions, "positions not applied on one rank", {"dense", "cp=4", 4}},
    {Fault::dropped_partial_sum, "partial sums not summed", {"dense", "tp=4,sp=0", 4}},
    {Fault::dropped_score, "scores of one part of the vocabulary", {"dense", "tp=4,sp=1", 4}},
    {Fault::narrow_operation, "one operator's results in the next narrower type", {"dense", "dp=4", 4}},
    {Fault::lost_ring_block, "a block of keys that never came", {"dense", "cp=4,cp_kind=ring", 4}},
    {Fault::lost_ring_gradient, "gradients of keys that never came home", {"dense", "cp=4", 4}},
    {Fault::swapped_heads, "two columns of exchanged heads swapped", {"dense", "dp=2,cp=2,cp_kind=a2a", 4}},
    {Fault::wrong_permutation, "two routed rows swapped", {"moe", "dp=4,ep=4", 4}},
    {Fault::shifted_dispatch, "rows shifted by one after dispatch", {"moe", "tp=2,sp=1,ep=2,etp=2,dp=2", 4}},
    {Fault::lost_probability_gradient, "no gradient of the probabilities", {"moe", "dp=4,ep=2", 4}},
    {Fault::local_balance, "load balance of one part of a sequence", {"moe", "cp=4", 4}},
    {Fault::stale_boundary, "a value of the micro-batch before", {"dense", "pp=4", 4}},
    {Fault::local_norm, "clipping by one rank's norm", {"dense", "tp=4,sp=1", 4}},
    {Fault::skipped_update, "one layer not updated", {"dense", "pp=4", 4}},
};

template <class T>
void swap_rows(Tensor<T>& x, std::int64_t a, std::int64_t b) {
  if (x.rows <= std::max(a, b)) return;
  std::swap_ranges(x.data.begin() + a * x.width, x.data.begin() + (a + 1) * x.width,
                   x.data.begin() + b * x.width);
}

// To the significant bits of float for double, of bf16 for float, of an eight-bit float for bf16.
template <class T>
void narrow(Tensor<T>& x) {
  const int bits = std::is_same_v<T, double> ? 24 : std::is_same_v<T, float> ? 8 : 4;
  for (T& value : x.data) {
    int exponent = 0;
    const double part = std::frexp(static_cast<double>(static_cast<cpu::Acc<T>>(value)), &exponent);
    value = static_cast<T>(
        static_cast<cpu::Acc<T>>(std::ldexp(std::nearbyint(std::ldexp(part, bits)), exponent - bits)));
  }
}

}  // namespace

std::span<const FaultCase> fault_cases() {
  return kCases;
}

void FaultyMessages::all_gather(Group group, const void* piece, std::int64_t bytes, void* whole) {
  Forwarding::all_gather(group, piece, bytes, whole);
  if (fault_ != Fault::dropped_score || what != Operator::merge_scores) return;
  for (std::size_t i = 0; i < group.size(); ++i)
    std::memcpy(static_cast<char*>(whole) + i * static_cast<std::size_t>(bytes), piece,
                static_cast<std::size_t>(bytes));
}

template <class A>
void FaultyMessages::reduce(Group group, A* values, std::int64_t count) {
  if (fault_ == Fault::dropped_reduce && in(Action::reduce)) return;
  if (fault_ == Fault::local_balance && in(Action::op) && what == Operator::balance) return;
  if (fault_ == Fault::dropped_partial_sum && in(Action::op) && what == Operator::convert) return;
  if (fault_ == Fault::local_norm && in(Action::clip)) {
    const A own = values[0];
    Forwarding::all_reduce(group, values, count);
    values[0] = own;
    return;
  }
  if (fault_ == Fault::swapped_group && in(Action::reduce)) {
    const Rank pair[] = {Rank(self().value() & ~1), Rank(self().value() | 1)};
    return Forwarding::all_reduce(pair, values, count);
  }
  Forwarding::all_reduce(group, values, count);
}

template <class T>
bool FaultyEngine<T>::skips(const Step& step, const Call& call) const {
  const bool weights = call.io.half == Half::weight_gradient;
  if (fault_ == Fault::lost_weight_gradient) return weights && step.unit == 1 && call.io.weight == 1;
  if (fault_ == Fault::lost_micro_batch) return weights && step.microbatch == 1;
  return false;
}

template <class T>
void FaultyEngine<T>::spoil(const Step& step, Call& call) const {
  const Operator what = call.io.what;
  const bool forward = !call.backward(), second = view_.rank() == Rank(1);
  if (fault_ == Fault::wrong_scale && what == Operator::score && step.backward && second)
    for (T& x : call.writes[0]->data) x = static_cast<T>(static_cast<cpu::Acc<T>>(x) * cpu::Acc<T>(1.01));
  if (fault_ == Fault::wrong_positions && what == Operator::rotate && second) call.writes[0] = call.reads[0];
  if (fault_ == Fault::narrow_operation && what == Operator::activation) narrow(*call.writes[0]);
  if (fault_ == Fault::lost_ring_block && what == Operator::ring && forward)
    std::fill(call.writes[0]->data.begin(), call.writes[0]->data.end(), T(0));
  if (fault_ == Fault::swapped_heads && what == Operator::spread_heads && forward) {
    Tensor<T>& x = *call.writes[0];
    for (std::int64_t row = 0; row < x.rows; ++row)
      std::swap(x.data[static_cast<std::size_t>(row * x.width)],
                x.data[static_cast<std::size_t>(row * x.width + 1)]);
  }
  if (fault_ == Fault::wrong_permutation && what == Operator::permute && forward)
    swap_rows(*call.writes[0], 0, 1);
  if (fault_ == Fault::shifted_dispatch && what == Operator::dispatch && forward && call.writes[0]->rows > 0)
    std::rotate(call.writes[0]->data.begin(), call.writes[0]->data.begin() + call.writes[0]->width,
                call.writes[0]->data.end());
  if (fault_ == Fault::lost_probability_gradient && what == Operator::permute && !forward)
    std::fill(call.writes[1]->sums.begin(), call.writes[1]->sums.end(), cpu::Acc<T>(0));
}

template <class T>
void FaultyEngine<T>::op(const Step& step, Call& call) {
  done.push_back(to_string(step, view_.units()));
  messages_.step = &step, messages_.what = call.io.what;
  if (skips(step, call)) return;
  if (fault_ == Fault::lost_ring_gradient && call.io.what == Operator::ring_return) {
    call.reads[1] = std::make_shared<Tensor<T>>(*call.reads[1]);
    std::fill(call.reads[1]->sums.begin(), call.reads[1]->sums.end(), cpu::Acc<T>(0));
  }
  inner_.op(step, call);
  spoil(step, call);
}

template <class T>
void FaultyEngine<T>::act(const Step& step) {
  done.push_back(to_string(step, view_.units()));
  messages_.step = &step, messages_.what = Operator::wait;
  const bool later = inner_.steps_done() > 0;
  if (fault_ == Fault::stale_gather && step.action == Action::gather && later) return;
  if (fault_ == Fault::missing_shared_sum && step.action == Action::sum_shared) return;
  if (fault_ == Fault::missing_copies && step.action == Action::sum_copies) return;
  if (fault_ == Fault::skipped_update && step.action == Action::update && step.unit == 1) return;
  inner_.act(step);
}

template <class T>
void FaultyEngine<T>::send(const Step& step, const Value& value, std::int32_t boundary) {
  done.push_back(to_string(step, view_.units()));
  inner_.send(step, value, boundary);
}

template <class T>
typename FaultyEngine<T>::Value FaultyEngine<T>::receive(const Step& step, std::int32_t boundary) {
  done.push_back(to_string(step, view_.units()));
  Value value = inner_.receive(step, boundary);
  std::swap(value, last_received_);
  return fault_ == Fault::stale_boundary && value ? value : last_received_;
}

template class FaultyEngine<double>;
template class FaultyEngine<float>;
template class FaultyEngine<bf16>;

}  // namespace tw::train
