// The virtual backend's clock against values derived by hand, and its bytes against the footprint.
#include "kernels/backend/virtual/virtual.hpp"

#include <gtest/gtest.h>

#include "tests/support/small_models.hpp"
#include "tests/support/thread_clocks.hpp"

namespace tw {
namespace {

// A layer takes 1 s forward and 2 s backward, at its first operation; the rest as the case says.
struct Times {
  double network_forward = 0, network_backward = 0, wgrad = 0, gather = 0, reduce = 0, send = 0;
  double forward = 1, backward = 2;

  double of_op(const Step& step, std::span<const Unit> units) const {
    if (units[static_cast<std::size_t>(step.unit)].kind != Unit::Kind::layer) return 0;
    const Op& op = op_of(step, units);
    if (op.stream == Stream::network) return step.backward ? network_backward : network_forward;
    const bool cut = op.name == "qkv" || op.name == "mlp_up";
    if (cut && operands_of(step, units).half == Half::weight_gradient) return wgrad;
    if (step.op == 0) return step.backward ? backward : forward;
    return 0;
  }
  double operator()(const Step& step, std::span<const Unit> units) const {
    if (step.action == Action::op) return of_op(step, units);
    if (step.action == Action::send) return send;
    if (step.unit < 0 || units[static_cast<std::size_t>(step.unit)].kind != Unit::Kind::layer) return 0;
    return step.action == Action::gather ? gather : step.action == Action::reduce ? reduce : 0;
  }
};

double clock_of(std::string_view layout, std::int32_t gpus, std::int64_t batch, const Times& times) {
  const Program program(small_input(small_model(false, 4), layout, gpus, batch));
  const auto ranks = run_all_ranks(program, table_of(program, times));
  const double now = ranks.front()->engine.now();
  for (const auto& rank : ranks) EXPECT_DOUBLE_EQ(rank->engine.now(), now) << layout;
  return now;
}

// 3 micro-batches x 4 layers x (1 + 2).
TEST(VirtualClock, OneRankAddsUp) {
  EXPECT_DOUBLE_EQ(clock_of("dp=1", 1, 3, {}), 36);
}

// Compute ends at 2 x 4 x 3 = 24. The last backward runs layers 3 .. 0 from 16 to 24; layer 3 is reduced
// from 18 on, and four reductions of 10 s follow each other: 58. Of 1 s each the last waits for layer 0:
// 24 + 1.
TEST(VirtualClock, ReductionsRunUnderTheLastBackward) {
  EXPECT_DOUBLE_EQ(clock_of("dp=2", 2, 4, {.reduce = 10}), 58);
  EXPECT_DOUBLE_EQ(clock_of("dp=2", 2, 4, {.reduce = 1}), 25);
}

// 1F1B and GPipe: (m + pp - 1)(F + B) with F = 2, B = 4 per stage of two layers: (4 + 1) x 6.
TEST(VirtualClock, APipelineHasItsBubble) {
  EXPECT_DOUBLE_EQ(clock_of("pp=2", 2, 4, {}), 30);
  EXPECT_DOUBLE_EQ(clock_of("pp=2,schedule=gpipe", 2, 4, {}), 30);
}

// One micro-batch: F 2, hop, F 2, B 4, hop, B 4.
TEST(VirtualClock, AMessageCarriesItsClock) {
  EXPECT_DOUBLE_EQ(clock_of("pp=2", 2, 1, {.send = 0.5}), 13);
}

// Chunks of one layer: m (F + B) vpp + (pp - 1)(F + B) with F = 1, B = 2 a chunk: 4 x 3 x 2 + 3
// (Narayanan et al. 2021, section 2.2: the bubble shrinks by vpp).
TEST(VirtualClock, InterleavingHalvesTheBubble) {
  EXPECT_DOUBLE_EQ(clock_of("pp=2,vpp=2,schedule=interleaved", 2, 4, {}), 27);
}

// The sums after attention_out and down are waited for: 4 layers x (1 + 2 x 5 + 2).
TEST(VirtualClock, AGemmWaitsForItsCollective) {
  EXPECT_DOUBLE_EQ(clock_of("tp=2", 2, 1, {.network_forward = 5}), 52);
}

// Backward, the sums of the input gradients of qkv and mlp_up (5 s) run beside the weight gradients: of
// 3 s these are hidden, 4 x (1 + 2 + 2 x 5); of 7 s they hide the sums, 4 x (1 + 2 + 2 x 7).
TEST(VirtualClock, ACollectiveRunsBesideAWeightGradient) {
  EXPECT_DOUBLE_EQ(clock_of("tp=2", 2, 1, {.network_backward = 5, .wgrad = 3}), 52);
  EXPECT_DOUBLE_EQ(clock_of("tp=2", 2, 1, {.network_backward = 5, .wgrad = 7}), 68);
}

// Gathers of 4 s come one layer ahead. Forward they follow each other: layer 3 is whole at 16 and done at 17.
// Backward, on one stream with the reductions of 10 s: gathers of layers 3 and 2 17-21-25, reduction of 3
// 25-35, gather of 1 -39, reduction of 2 -49, gather of 0 -53, reductions of 1 -63 and of 0 -73; layers run
// beside them, 21-23, 25-27, 39-41, 53-55.
TEST(VirtualClock, GathersAndReductionsShareAStream) {
  EXPECT_DOUBLE_EQ(clock_of("dp=2,zero=3", 2, 2, {.gather = 4, .reduce = 10}), 73);
}

// ZB-H1, F = 2, B = W = 4 per stage of two layers. Stage 1: F0 2-4, B0 4-8, F1 8-10, B1 10-14, W0 14-18, W1
// 18-22. Stage 0: F0 0-2, F1 2-4, B0 8-12, W0 12-16 while it waits for B1 of the other, B1 16-20, W1 20-24.
TEST(VirtualClock, WeightHalvesFillGaps) {
  EXPECT_DOUBLE_EQ(clock_of("pp=2,schedule=zb-h1", 2, 2, {.wgrad = 1}), 24);
}

struct Case {
  const char* layout;
  std::int32_t gpus;
  bool experts;
};

// Every rank runs its steps in order, ends with its states alone, and meets the footprint's peak.
TEST(VirtualEngine, PeaksWhereTheFootprintSays) {
  const Case cases[] = {{"dp=2,zero=2", 2, false},
                        {"dp=2,zero=3,recompute=full", 2, true},
                        {"tp=2,sp=1,cp=2,cp_kind=a2a,recompute=selective", 4, false},
                        {"pp=2,schedule=gpipe", 2, false},
                        {"pp=2,vpp=2,schedule=interleaved", 2, false},
                        {"pp=2,schedule=zb-h1,dp=2,zero=3", 4, false},
                        {"pp=2,vpp=2,schedule=zb-v", 2, false},
                        {"pp=2,schedule=dualpipe,dp=2,zero=1", 4, true},
                        {"pp=2,vpp=2,schedule=dualpipe-v", 2, false},
                        {"pp=2,tp=2,sp=1,dp=2,ep=2,etp=2,zero=1", 8, true},
                        {"tp=2,sp=1,dp=4,ep=4,cp=1,zero=3,hsdp=2,recompute=moe_act", 8, true}};
  for (const Case& c : cases) {
    const Program program(small_input(small_model(c.experts, 4), c.layout, c.gpus, 16));
    const auto ranks = run_all_ranks(program, table_of(program, Times{}));
    for (std::int32_t rank = 0; rank < program.grid().ranks(); ++rank) {
      const VirtualRank& one = *ranks[static_cast<std::size_t>(rank)];
      EXPECT_TRUE(one.in_order()) << c.layout;
      EXPECT_EQ(one.recorder.live_bytes(), 0) << c.layout;
      EXPECT_EQ(one.recorder.peak_bytes(), footprint(program, Rank(rank)).peak)
          << c.layout << " rank " << rank;
    }
  }
}

}  // namespace
}  // namespace tw
