// Overlap of one layer in the middle of many, drawn by hand on the streams. Numbers are seconds. In the
// drawings a letter is an op, a dot an idle second of the compute stream.
#include <gtest/gtest.h>

#include "costmodel/resolve.hpp"

namespace tw {
namespace {

struct Spec {
  Stream stream = Stream::compute;
  double seconds = 0, host = 0;
  std::int16_t after = -1;
  bool synchronises = false, between_nodes = false;
  float yields = 1;
};

PricedOp made(const Spec& spec) {
  PricedOp op;
  op.stream = spec.stream, op.seconds = spec.seconds, op.host = spec.host;
  op.term = spec.stream == Stream::compute ? Term::gemm : Term::tp;
  op.after[0] = spec.after, op.yields = spec.yields;
  op.synchronises = spec.synchronises, op.network_tier = spec.between_nodes;
  return op;
}

PricedList list_of(std::initializer_list<Spec> specs, std::int16_t output = -1) {
  PricedList list;
  for (const Spec& spec : specs) list.ops.push_back(made(spec));
  list.output = output < 0 ? static_cast<std::int16_t>(list.ops.size() - 1) : output;
  return list;
}

PricedOp state(Term term, double seconds, bool between_nodes = false) {
  PricedOp op;
  op.stream = Stream::state, op.term = term, op.seconds = seconds, op.network_tier = between_nodes;
  return op;
}

constexpr Stream kNet = Stream::network;

// aaabbbb
TEST(ResolveCases, ComputeAlone) {
  const LayerTime t = resolve(list_of({{.seconds = 3}, {.seconds = 4}}), {}, 1.1);
  EXPECT_DOUBLE_EQ(t.seconds, 7);
  EXPECT_DOUBLE_EQ(t.busy, 7);
}

// aaa..bbbb: the collective stands between its maker and its reader.
TEST(ResolveCases, ABlockingCollectiveIsExposed) {
  const LayerTime t =
      resolve(list_of({{.seconds = 3}, {kNet, 2, 0, 0}, {.seconds = 4, .after = 1}}), {}, 1.1);
  EXPECT_DOUBLE_EQ(t.seconds, 9);
  EXPECT_FLOAT_EQ(t.terms[Term::tp], 2);
  EXPECT_FLOAT_EQ(t.terms[Term::interference], 0);
}

// aaabbbbc with nn under bbbb: free, but for a tenth of the two seconds of compute beside it.
TEST(ResolveCases, AHiddenCollectiveOnlySlows) {
  const auto list = list_of({{.seconds = 3}, {kNet, 2, 0, 0}, {.seconds = 4}, {.seconds = 1, .after = 1}});
  EXPECT_DOUBLE_EQ(resolve(list, {}, 1).seconds, 8);
  EXPECT_NEAR(resolve(list, {}, 1.1).seconds, 8.2, 1e-12);
}

// The same where it is known what compute loses beside that op: half of its two seconds, not a tenth; beside
// a gather of three (a quarter) all five are hidden: 2 / 2 + 3 / 4.
TEST(ResolveCases, WhatComputeLosesBesideAnOpCanBeKnown) {
  auto list = list_of({{.seconds = 3}, {kNet, 2, 0, 0}, {.seconds = 4}, {.seconds = 1, .after = 1}});
  list.ops[1].lost = 0.5f;
  EXPECT_NEAR(resolve(list, {}, 1.1).seconds, 9, 1e-12);
  PricedOp gather = state(Term::gather, 3);
  gather.lost = 0.25f;
  EXPECT_NEAR(resolve(list, {&gather, nullptr}, 1.1).seconds, 8 + 1 + 0.75, 1e-12);
}

// An exchange beside another micro-batch: nothing waits for it, but a layer lasts as long as it does.
TEST(ResolveCases, AnExchangeBesideAnotherMicroBatch) {
  const auto seconds = [](double exchange) {
    PricedList list = list_of({{.seconds = 3}, {kNet, exchange, 0, 0}, {.seconds = 4, .after = 1}});
    list.ops[1].beside = true;
    return resolve(list, {}, 1).seconds;
  };
  EXPECT_DOUBLE_EQ(seconds(2), 7);
  EXPECT_DOUBLE_EQ(seconds(6), 7);
  EXPECT_DOUBLE_EQ(seconds(9), 9);
}

// aaabbbb.c: the exchange of two seconds begins with b, a product that leaves it the last quarter of its
// time: one second, the other one after it.
TEST(ResolveCases, AProductKeepsAnExchangeThatBeginsWithIt) {
  const auto last = [](double exchange, float yields) {
    return resolve(list_of({{.seconds = 3},
                            {kNet, exchange, 0, 0},
                            {.seconds = 4, .yields = yields},
                            {.seconds = 1, .after = 1}}),
                   {}, 1);
  };
  const LayerTime t = last(2, 0.25F);
  EXPECT_DOUBLE_EQ(t.seconds, 9);
  EXPECT_DOUBLE_EQ(t.busy, 8);
  EXPECT_FLOAT_EQ(t.terms[Term::tp], 1);
  EXPECT_DOUBLE_EQ(last(1, 0.25F).seconds, 8);  // all of it in that part
  EXPECT_DOUBLE_EQ(last(2, 1).seconds, 8);
}

// aaaebbbbbbc: the exchange is under way since the end of a; of its other three seconds b's last quarter
// hides one, and b takes the two longer. Of a long one b takes at most twice its time, and c waits for the
// rest.
TEST(ResolveCases, AnExchangeKeepsAProductThatBeginsBesideIt) {
  const auto with = [](double exchange) {
    return resolve(list_of({{.seconds = 3},
                            {kNet, exchange, 0, 0},
                            {.seconds = 1},
                            {.seconds = 4, .yields = 0.25F},
                            {.seconds = 1, .after = 1}}),
                   {}, 1);
  };
  EXPECT_DOUBLE_EQ(with(4).seconds, 11);
  EXPECT_FLOAT_EQ(with(4).terms[Term::interference], 2);
  EXPECT_FLOAT_EQ(with(4).terms[Term::tp], 0);
  EXPECT_DOUBLE_EQ(with(20).seconds, 24);  // 3 + 20 + 1
  EXPECT_FLOAT_EQ(with(20).terms[Term::interference], 4);
}

// aaabbbb..c with nnnnnn from 3 to 9: two exposed, four hidden.
TEST(ResolveCases, APartlyHiddenCollective) {
  const auto list = list_of({{.seconds = 3}, {kNet, 6, 0, 0}, {.seconds = 4}, {.seconds = 1, .after = 1}});
  const LayerTime t = resolve(list, {}, 1.1);
  EXPECT_NEAR(t.seconds, 10.4, 1e-12);
  EXPECT_FLOAT_EQ(t.terms[Term::tp], 2);
  EXPECT_NEAR(t.terms[Term::interference], 0.4, 1e-6);
}

// aaa.. aaa..: the layer's output is a collective, and the next layer's first op waits for it.
TEST(ResolveCases, TheNextLayerWaitsForTheOutput) {
  const LayerTime t = resolve(list_of({{.seconds = 3}, {kNet, 2, 0, 0}}), {}, 1);
  EXPECT_DOUBLE_EQ(t.seconds, 5);
  EXPECT_FLOAT_EQ(t.terms[Term::tp], 2);
}

// Nobody waits for the collective: only its stream is busy.
TEST(ResolveCases, ACollectiveWithoutReaderIsFree) {
  EXPECT_DOUBLE_EQ(resolve(list_of({{.seconds = 3}, {kNet, 2, 0, 0}, {.seconds = 4}}), {}, 1).seconds, 7);
}

// A network of 2.92 s under 2.89 s of compute: each layer ends 0.03 s later behind its collectives, though
// the first three still hide them.
TEST(ResolveCases, NoStreamIsFasterThanItsWork) {
  const auto list = list_of({{},
                             {kNet, 0.78},
                             {kNet, 1.12},
                             {kNet, 0.77, 0, 0},
                             {.seconds = 1.4},
                             {.seconds = 1.03},
                             {.seconds = 0.46},
                             {kNet, 0.25},
                             {.after = 7}});
  const LayerTime t = resolve(list, {}, 1);
  EXPECT_NEAR(t.seconds, 2.92, 1e-12);
  EXPECT_NEAR(t.terms[Term::tp], 0.03, 1e-6);
}

// Three kernels of one second, two seconds of host each: the host is the clock.
TEST(ResolveCases, HostBound) {
  const Spec kernel{.seconds = 1, .host = 2};
  const LayerTime t = resolve(list_of({kernel, kernel, kernel}), {}, 1);
  EXPECT_DOUBLE_EQ(t.seconds, 6);
  EXPECT_FLOAT_EQ(t.terms[Term::host], 3);
  EXPECT_DOUBLE_EQ(t.busy, 3);
}

// The host waits for a (ends at A), reads for 0.5 and issues b for 1: b from A+1.5 to A+3.5, c (issued at
// A+2.5) to A+5.5; the next a is issued at A+3.5 and follows at once. 1.5 idle a layer.
TEST(ResolveCases, AHostReadDrainsTheQueue) {
  const auto list = list_of({{.seconds = 5, .host = 1},
                             {.seconds = 0.5, .synchronises = true},
                             {.seconds = 2, .host = 1},
                             {.seconds = 2, .host = 1}});
  const LayerTime t = resolve(list, {}, 1);
  EXPECT_DOUBLE_EQ(t.seconds, 10.5);
  EXPECT_FLOAT_EQ(t.terms[Term::host], 1.5);
}

// A gather for the next layer shorter than this one is free; longer, it is the period.
TEST(ResolveCases, GatherUnderTheLayer) {
  const auto list = list_of({{.seconds = 10}});
  const PricedOp brief = state(Term::gather, 4), slow = state(Term::gather, 15);
  EXPECT_DOUBLE_EQ(resolve(list, {&brief, nullptr}, 1).seconds, 10);
  const LayerTime t = resolve(list, {&slow, nullptr}, 1);
  EXPECT_DOUBLE_EQ(t.seconds, 15);
  EXPECT_FLOAT_EQ(t.terms[Term::gather], 5);
}

// A reduction occupies links; nobody waits for it inside the step.
TEST(ResolveCases, ReductionAloneNeverStalls) {
  const PricedOp slow = state(Term::reduce, 15);
  EXPECT_DOUBLE_EQ(resolve(list_of({{.seconds = 10}}), {nullptr, &slow}, 1).seconds, 10);
}

// Gather and reduction share one stream: 6 + 6 a layer against 10 of compute.
TEST(ResolveCases, GatherAndReductionTakeTurns) {
  const PricedOp gather = state(Term::gather, 6), reduce = state(Term::reduce, 6);
  EXPECT_DOUBLE_EQ(resolve(list_of({{.seconds = 10}}), {&gather, &reduce}, 1).seconds, 12);
}

// The same whatever comes first in the window: 1 + 8 a layer, the short gather waits behind the reduction.
TEST(ResolveCases, ALongReductionHoldsTheNextGather) {
  const PricedOp gather = state(Term::gather, 1, true), reduce = state(Term::reduce, 8);
  EXPECT_DOUBLE_EQ(resolve(list_of({{.seconds = 5}}), {&gather, &reduce}, 1).seconds, 9);
}

// aaaaabbbbb with five seconds of in-node collectives: 4 more fit on the links, 8 do not (3 over). A gather
// between nodes has links of its own.
TEST(ResolveCases, GathersShareTheLinksOfTheirTier) {
  const auto list = list_of({{.seconds = 5}, {kNet, 5, 0, 0}, {.seconds = 5}});
  const PricedOp four = state(Term::gather, 4), eight = state(Term::gather, 8),
                 outside = state(Term::gather, 8, true);
  EXPECT_DOUBLE_EQ(resolve(list, {&four, nullptr}, 1).seconds, 10);
  EXPECT_DOUBLE_EQ(resolve(list, {&eight, nullptr}, 1).seconds, 13);
  EXPECT_DOUBLE_EQ(resolve(list, {&outside, nullptr}, 1).seconds, 10);
}

// Hidden gather of 4 beside 10 of compute at 1.1: 0.4 more.
TEST(ResolveCases, HiddenGatherSlowsCompute) {
  const PricedOp gather = state(Term::gather, 4);
  EXPECT_NEAR(resolve(list_of({{.seconds = 10}}), {&gather, nullptr}, 1.1).seconds, 10.4, 1e-12);
}

}  // namespace
}  // namespace tw
