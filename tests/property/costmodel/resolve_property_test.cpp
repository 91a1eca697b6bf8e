// resolve over random op lists: bounds, sums and monotonicity.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

#include "costmodel/resolve.hpp"

namespace tw {
namespace {

double any_seconds() {
  return *rc::gen::inRange(0, 200) / 100.0;
}

PricedOp any_op(std::int16_t index) {
  PricedOp op;
  op.seconds = any_seconds();
  op.host = *rc::gen::inRange(0, 60) / 100.0;
  op.stream = *rc::gen::inRange(0, 3) == 0 ? Stream::network : Stream::compute;
  op.term = op.stream == Stream::network ? Term::tp : Term::gemm;
  op.network_tier = *rc::gen::arbitrary<bool>();
  if (index > 0 && *rc::gen::arbitrary<bool>()) op.after[0] = *rc::gen::inRange<std::int16_t>(0, index);
  return op;
}

// The last op waits for the last collective, as in every emitted list: somebody reads each of them.
PricedList any_list() {
  PricedList list;
  const int count = *rc::gen::inRange(1, 20);
  for (int i = 0; i < count; ++i) list.ops.push_back(any_op(static_cast<std::int16_t>(i)));
  list.ops.front().stream = list.ops.back().stream = Stream::compute;
  list.ops.front().term = list.ops.back().term = Term::gemm;
  for (int i = 0; i < count; ++i) {
    if (list.ops[static_cast<std::size_t>(i)].stream == Stream::network)
      list.ops.back().after[1] = static_cast<std::int16_t>(i);
  }
  list.output = static_cast<std::int16_t>(count - 1);
  return list;
}

PricedOp any_state(Term term) {
  PricedOp op;
  op.seconds = *rc::gen::inRange(0, 2000) / 100.0;
  op.term = term, op.stream = Stream::state;
  op.network_tier = *rc::gen::arbitrary<bool>();
  return op;
}

double sum(const TermSeconds& terms) {
  double all = 0;
  for (const float part : terms.exposed) all += part;
  return all;
}

bool near(double a, double b) {
  return std::abs(a - b) <= 1e-5 * (1 + std::max(a, b));
}

RC_GTEST_PROP(ResolveProperty, TermsSumToThePeriodWhichCoversAllCompute, ()) {
  const PricedList list = any_list();
  const PricedOp gather = any_state(Term::gather), reduce = any_state(Term::reduce);
  const StateOps state{*rc::gen::arbitrary<bool>() ? &gather : nullptr,
                       *rc::gen::arbitrary<bool>() ? &reduce : nullptr};
  const double slowdown = 1 + *rc::gen::inRange(0, 30) / 100.0;
  const LayerTime t = resolve(list, state, slowdown);
  double compute = 0, host = 0;
  for (const PricedOp& op : list.ops)
    compute += op.stream == Stream::compute ? op.seconds : 0, host += op.host;
  RC_ASSERT(near(t.busy, compute));
  RC_ASSERT(t.seconds >= compute - 1e-9);
  RC_ASSERT(t.seconds >= host - 1e-9 || t.seconds >= compute - 1e-9);
  RC_ASSERT(near(sum(t.terms), t.seconds));
  for (const float part : t.terms.exposed) RC_ASSERT(part >= -1e-6f);
}

// Without compute beside it nothing interferes, so a state op of no time changes nothing.
RC_GTEST_PROP(ResolveProperty, StateOpsOfNoTimeChangeNothing, ()) {
  const PricedList list = any_list();
  PricedOp gather = any_state(Term::gather), reduce = any_state(Term::reduce);
  gather.seconds = reduce.seconds = 0;
  RC_ASSERT(near(resolve(list, {&gather, &reduce}, 1.1).seconds, resolve(list, {}, 1.1).seconds));
}

RC_GTEST_PROP(ResolveProperty, ASlowGatherIsThePeriod, ()) {
  PricedList list = any_list();
  for (PricedOp& op : list.ops) op.host = 0, op.network_tier = false;
  PricedOp gather = any_state(Term::gather);
  gather.network_tier = true;
  const double alone = resolve(list, {}, 1).seconds;
  const double with = resolve(list, {&gather, nullptr}, 1).seconds;
  RC_ASSERT(with >= alone - 1e-9);
  if (gather.seconds >= 2 * alone) RC_ASSERT(near(with, gather.seconds));
  if (gather.seconds <= alone) RC_ASSERT(near(with, alone));
}

PricedList scaled_network(PricedList list, double factor) {
  for (PricedOp& op : list.ops) op.seconds *= op.stream == Stream::network ? factor : 1.0;
  return list;
}

// Faster links, kernels or host never make a layer slower.
RC_GTEST_PROP(ResolveProperty, FasterIsNeverSlower, ()) {
  const PricedList list = any_list();
  const PricedOp gather = any_state(Term::gather), reduce = any_state(Term::reduce);
  const StateOps state{*rc::gen::arbitrary<bool>() ? &gather : nullptr,
                       *rc::gen::arbitrary<bool>() ? &reduce : nullptr};
  const double slowdown = 1 + *rc::gen::inRange(0, 30) / 100.0, factor = *rc::gen::inRange(0, 100) / 100.0;
  const double before = resolve(list, state, slowdown).seconds;
  PricedOp quick_gather = gather, quick_reduce = reduce;
  quick_gather.seconds *= factor, quick_reduce.seconds *= factor;
  const StateOps quick{state.gather ? &quick_gather : nullptr, state.reduce ? &quick_reduce : nullptr};
  RC_ASSERT(resolve(scaled_network(list, factor), quick, slowdown).seconds <= before + 1e-6);
  PricedList one = list;
  one.ops[static_cast<std::size_t>(*rc::gen::inRange<int>(0, static_cast<int>(list.ops.size())))].seconds *=
      factor;
  RC_ASSERT(resolve(one, state, slowdown).seconds <= before + 1e-6);
}

}  // namespace
}  // namespace tw
