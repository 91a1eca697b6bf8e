// What a step does to parameters, gradients and optimizer states besides the layers' own operations:
// each mechanism's seconds by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "tests/unit/costmodel/oracle_fixture.hpp"

namespace tw {
namespace {

using test::h100, test::megatron, test::small_model;
using Machinery = test::Setup;  // gtest has a Setup of its own
using Change = std::function<void(Profile&)>;

constexpr std::int64_t kS = 1024;

// Seconds of the state link on top of the pass: copies of a layer's parameters on the compute stream.
KindState layer_state(const Change& change, std::int32_t zero) {
  Profile profile = megatron();
  change(profile);
  Machinery setup(small_model({}), h100(8), profile, 8, kS);
  Evaluator evaluator = setup.evaluator();
  Layout layout;
  layout.dp = 8, layout.zero = zero;
  return evaluator.chain(layout).state->kinds[0];
}

double copy_seconds(double bytes_per_element) {
  Machinery setup(small_model({}), h100(8), megatron(), 8, kS);
  // qkv 512*1024, out 512*512, gate, up and down 3*512*1024, two norms of 512.
  const double elements = 512 * 1024 + 512 * 512 + 3 * 512 * 1024 + 2 * 512;
  return setup.calibration.elementwise(Bytes(std::llround(elements * bytes_per_element))).time.value;
}

// 6 bytes that are cast, at 1.95 TB/s: 2.5 us and 2360320 elements * 6 / 1.95e12 = 7.2625 us.
constexpr double kWidened = 2.5e-6 + 7.2625e-6;

TEST(Mechanisms, CopiesOfFsdp) {
  const auto off = [](Profile&) {};
  const auto copies = [](Profile& x) {
    x.state.gather_copy_bytes = 4, x.state.gradient_copies = GradientCopies::joined;
  };
  const KindState was = layer_state(off, 3), is = layer_state(copies, 3);
  EXPECT_NEAR(is.f.seconds - was.f.seconds, copy_seconds(4), 1e-9);
  EXPECT_NEAR(is.b.seconds - was.b.seconds, copy_seconds(4) + kWidened, 1e-9);
  EXPECT_EQ(layer_state(copies, 1).b.seconds, layer_state(off, 1).b.seconds);
}

// World, and one for each boundary and direction: of two stages they share 1 boundary, of two chunks each 3;
// an inner stage of four has 2, with two chunks 4.
TEST(Mechanisms, CommunicatorsOfBoundaries) {
  const auto count = [](std::int32_t pp, std::int32_t vpp, bool apart) {
    Profile profile = megatron();
    profile.state.boundary_communicators = apart;
    Machinery setup(small_model({.layers = 8}), h100(8), profile, 8, kS);
    Evaluator evaluator = setup.evaluator();
    Layout layout;
    layout.pp = pp, layout.vpp = vpp;
    const double bytes = static_cast<double>(evaluator.chain(layout).state->communicators);
    return std::llround(bytes / setup.calibration.communicator(2).to_double());
  };
  EXPECT_EQ(count(2, 1, false), 2);  // world and pp
  EXPECT_EQ(count(2, 1, true), 3);
  EXPECT_EQ(count(2, 2, true), 7);
  EXPECT_EQ(count(4, 1, true), 5);
  EXPECT_EQ(count(4, 2, true), 9);
}

// FSDP1: joined (4 bytes) and divided (8 in fp32, 4 in bf16); reduced in fp32 they are cast between.
TEST(Mechanisms, CopiesOfAFlatParameter) {
  const auto more = [](DType reduce) {
    const auto with = [&](GradientCopies copies) {
      return [=](Profile& x) { x.state.reduce = reduce, x.state.gradient_copies = copies; };
    };
    return layer_state(with(GradientCopies::flat), 3).b.seconds -
           layer_state(with(GradientCopies::none), 3).b.seconds;
  };
  EXPECT_NEAR(more(DType::fp32), copy_seconds(12) + kWidened, 1e-9);
  EXPECT_NEAR(more(DType::bf16), copy_seconds(8), 1e-9);
}

// Adam in one kernel: 4 + 4 (norm) + 2*4 + 4*4 + 2 = 34 bytes; an operator at a time 4 + 4*4 + 4*4 + 16*4 =
// 100.
TEST(Mechanisms, OptimizerOfOneKernelPerOperator) {
  const auto seconds = [](bool fused) {
    return layer_state([=](Profile& x) { x.state.fused_optimizer = fused; }, 0).optimizer;
  };
  EXPECT_NEAR(seconds(true), copy_seconds(34), 1e-9);
  EXPECT_NEAR(seconds(false), copy_seconds(100), 1e-9);
}

// Reads bf16, reads and writes fp32: 10 bytes; nothing where reduced gradients leave each micro-batch.
TEST(Mechanisms, UnfusedAccumulation) {
  const auto fused_like = [](Profile& x) { x.state.gradient = DType::bf16; };
  const auto apart = [](Profile& x) { x.state.gradient = DType::bf16, x.state.fused_wgrad = false; };
  const KindState was = layer_state(fused_like, 1), is = layer_state(apart, 1);
  EXPECT_NEAR(is.b.seconds - was.b.seconds, copy_seconds(6), 1e-9);
  EXPECT_EQ(is.f.seconds, was.f.seconds);
  EXPECT_EQ(layer_state(apart, 3).b.seconds, layer_state(fused_like, 3).b.seconds);
}

TEST(Mechanisms, OneGatherForEachTensor) {
  const KindState one = layer_state([](Profile&) {}, 3);
  const KindState four = layer_state([](Profile& x) { x.state.gather_calls = 4; }, 3);
  EXPECT_GT(four.gather, one.gather);      // latency four times
  EXPECT_LT(four.gather, 4 * one.gather);  // the same bytes
  EXPECT_EQ(four.reduce, one.reduce);
}

// Gathers that nothing hides come on top; reductions run under the backward, which takes no less than they.
TEST(Mechanisms, ReductionsQueueUpBehindExposedGathers) {
  const auto network = [](double gathered) {
    return [=](Profile& x) { x.state.overlap_gather = false, x.state.regathered = gathered; };
  };
  const KindState sharded = layer_state(network(0), 3), whole = layer_state(network(0), 1);
  EXPECT_NEAR(sharded.f.seconds, whole.f.seconds + sharded.gather, 1e-12);
  EXPECT_GE(sharded.b.seconds, std::max(whole.b.seconds, sharded.reduce) + sharded.gather - 1e-12);
  const KindState slow = layer_state(
      [&](Profile& x) {
        network(0)(x);
        x.state.reduce_rank_ops = 1e4;  // 8 ranks * 1e4 operations of the host: far beyond any backward
      },
      3);
  EXPECT_GT(slow.reduce, 10 * whole.b.seconds);
  EXPECT_NEAR(slow.b.seconds, slow.reduce + slow.gather, 1e-12);
}

// Lists of one tensor for each of 8 ranks: two operations a rank and gather, three a rank and reduction.
TEST(Mechanisms, ListsOfOneTensorPerRank) {
  const auto apart = [](Profile& x) {
    x.state.gather_calls = 4, x.state.overlap_gather = x.state.overlap_reduce = false;
  };
  const auto lists = [&](Profile& x) { apart(x), x.state.gather_rank_ops = 2, x.state.reduce_rank_ops = 3; };
  const KindState was = layer_state(apart, 3), is = layer_state(lists, 3);
  const double each = 4 * 8 * megatron().host.per_kernel.value;
  EXPECT_NEAR(is.gather - was.gather, 2 * each, 1e-9);
  EXPECT_NEAR(is.reduce - was.reduce, 3 * each, 1e-9);
  EXPECT_NEAR(is.b.seconds - was.b.seconds, 5 * each, 1e-9);
}

}  // namespace
}  // namespace tw
