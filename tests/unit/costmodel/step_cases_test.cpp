// Steps of synthetic costs, by hand: a layer takes F = 1 forward and B = 2 backward seconds, embedding and
// head nothing. Only the final read of the gradient norm is the calibration's.
#include <gtest/gtest.h>

#include <cmath>

#include "costmodel/curves.hpp"
#include "costmodel/step.hpp"
#include "tests/unit/costmodel/oracle_fixture.hpp"

namespace tw {
namespace {

constexpr double kF = 1, kB = 2;

Profile plain_profile() {
  Profile profile = test::megatron();
  profile.state.overlap_send = SendOverlap::always;
  profile.spread = profile.gpu_speed_spread = 0;
  profile.host.per_step = Seconds(0), profile.host.sync_per_step = 0;
  return profile;
}

LayerTime lasting(double seconds, Term term) {
  LayerTime t;
  t.seconds = t.busy = seconds;
  t.terms.add(term, CurveId::gemm, seconds, 0);
  return t;
}

// Eight layers, 16 micro-batches.
struct Synthetic {
  test::Setup setup{test::small_model({.layers = 8}), test::h100(8), plain_profile(), 16, 1024};
  StepContext context = step_context(setup.job, setup.machine, Bytes(0));
  PassCost pass;
  StateCost state;
  Layout layout;

  Synthetic() {
    setup.job.gpus = 1;
    pass.kinds.resize(1), state.kinds.resize(1);
    pass.kinds[0].f = lasting(kF, Term::gemm), pass.kinds[0].b = lasting(kB, Term::gemm);
    state.kinds[0].f = pass.kinds[0].f, state.kinds[0].b = pass.kinds[0].b;
    pass.kinds[0].input = lasting(kB / 2, Term::gemm), pass.kinds[0].w = lasting(kB / 2, Term::gemm);
  }
  Cost cost() const { return step_cost(context, {&layout, &pass, &state, nullptr, nullptr}); }
  // Without what the optimizer's read of the norm takes.
  double seconds() const { return cost().step_seconds - setup.calibration.synchronise().value; }
};

constexpr double kTolerance = 1e-4;  // terms are floats

TEST(StepCases, OneStage) {
  EXPECT_NEAR(Synthetic().seconds(), 16 * 8 * (kF + kB), kTolerance);
}

// (m + pp - 1)(F + B) of a stage (Narayanan et al. 2021, arXiv 2104.04473, section 2.2.1).
TEST(StepCases, OneForwardOneBackward) {
  Synthetic s;
  s.layout.pp = 4;
  const Cost cost = s.cost();
  EXPECT_NEAR(s.seconds(), (16 + 3) * 2 * (kF + kB), kTolerance);
  EXPECT_NEAR(cost.terms[Term::bubble], 3 * 2 * (kF + kB), kTolerance);
}

// Interleaving divides the bubble by vpp (section 2.2.2).
TEST(StepCases, Interleaved) {
  Synthetic s;
  s.layout.pp = 4, s.layout.vpp = 2, s.layout.schedule = kScheduleInterleaved;
  EXPECT_NEAR(s.seconds(), 16 * 2 * (kF + kB) + 3 * 2 * (kF + kB) / 2, kTolerance);
}

// zb-h1 leaves (pp - 1)(F + input - weight half) (Qi et al. 2023, arXiv 2401.10241, table 2, with its
// B = W = 1 here): 3 * 2 * (1 + 1 - 1).
TEST(StepCases, ZeroBubble) {
  Synthetic s;
  s.layout.pp = 4, s.layout.schedule = kScheduleZbH1;
  EXPECT_NEAR(s.seconds(), 16 * 2 * (kF + kB) + 3 * 2 * 1.0, kTolerance);
}

// A hand-over on the way down and up: at least 2(pp - 1) of them.
TEST(StepCases, Sends) {
  Synthetic s;
  s.layout.pp = 4, s.state.send = 0.25;
  EXPECT_GE(s.seconds(), (16 + 3) * 2 * (kF + kB) + 6 * 0.25 - kTolerance);
  EXPECT_NEAR(s.cost().terms[Term::send], 6 * 0.25, kTolerance);
}

// Last micro-batch, backward of 8 layers of 2 s; reductions of 1.5 s queue behind it. All but the last
// hide: 1.5 is left.
TEST(StepCases, ReductionUnderTheLastBackward) {
  Synthetic s;
  s.state.kinds[0].reduce = 1.5;
  EXPECT_NEAR(s.seconds(), 16 * 8 * (kF + kB) + 1.5, kTolerance);
}

// Of 3 s, one second more than a layer: 3 + 7 * (3 - 2) are left.
TEST(StepCases, SlowReductionsQueue) {
  Synthetic s;
  s.state.kinds[0].reduce = 3;
  EXPECT_NEAR(s.seconds(), 16 * 8 * (kF + kB) + 10, kTolerance);
}

// The table's gradient comes last: its 0.75 s follow the 1.5 s of the first layer, nothing computes
// meanwhile.
TEST(StepCases, TheEmbeddingIsReducedLast) {
  Synthetic s;
  s.state.kinds[0].reduce = 1.5, s.state.embedding.reduce = 0.75;
  EXPECT_NEAR(s.seconds(), 16 * 8 * (kF + kB) + 2.25, kTolerance);
}

// The head's reduction of 6 s starts first and drains under the layers: each takes 1.5 of 2 s, so 0.5 s a
// layer; 6 - 8 * 0.5 = 2 s of it are left, more than the 1.5 of the last layer alone.
TEST(StepCases, TheHeadsReductionDrainsUnderTheLayers) {
  Synthetic s;
  s.state.kinds[0].reduce = 1.5, s.state.head.reduce = 6;
  EXPECT_NEAR(s.seconds(), 16 * 8 * (kF + kB) + 2, kTolerance);
}

// Stage 0 ends last; stage 3 has the backward of three stages, 3 * 2 * 2 s, for its reductions.
TEST(StepCases, LaterStagesReduceUnderEarlierOnes) {
  Synthetic s;
  s.layout.pp = 4, s.state.kinds[0].reduce = 1.5, s.state.head.reduce = 10;
  EXPECT_NEAR(s.seconds(), (16 + 3) * 2 * (kF + kB) + 1.5, kTolerance);
}

// A parameter gather that a layer's forward does not hide, once a step, on the first stage; others wait
// for their first micro-batch anyway.
TEST(StepCases, GatherUnderTheFirstForward) {
  Synthetic s;
  s.state.kinds[0].first_extra = 0.25;
  EXPECT_NEAR(s.seconds(), 16 * 8 * (kF + kB) + 8 * 0.25, kTolerance);
  s.layout.pp = 4;
  EXPECT_NEAR(s.seconds(), (16 + 3) * 2 * (kF + kB) + 2 * 0.25, kTolerance);
}

// ZeRO-3: layers as resolved with their traffic, every micro-batch, and the first layer's gather open.
TEST(StepCases, ParametersGatheredEveryMicrobatch) {
  Synthetic s;
  s.state.gathers_every = s.state.reduces_every = true;
  s.state.kinds[0].f = lasting(1.5, Term::gemm), s.state.kinds[0].b = lasting(2.5, Term::gemm);
  s.state.kinds[0].gather = 0.25;
  EXPECT_NEAR(s.seconds(), 16 * (8 * 4 + 0.25), kTolerance);
}

// The optimizer of the stage with most to update.
TEST(StepCases, Optimizer) {
  Synthetic s;
  s.state.kinds[0].optimizer = 0.125, s.state.head.optimizer = 0.5;
  s.layout.pp = 4;
  EXPECT_NEAR(s.seconds(), (16 + 3) * 2 * (kF + kB) + 2 * 0.125 + 0.5, kTolerance);
}

// Tied tables on two stages: one more all-reduce; on one stage there is one table.
TEST(StepCases, TiedTables) {
  Synthetic s;
  s.setup.model.tied_embeddings = true;
  s.state.tied_reduce = 0.5;
  EXPECT_NEAR(s.seconds(), 16 * 8 * (kF + kB), kTolerance);
  s.layout.pp = 4;
  EXPECT_NEAR(s.seconds(), (16 + 3) * 2 * (kF + kB) + 0.5, kTolerance);
}

// Norms of Llama-3.1-8B under sp: 32 layers of two and the final one, 4096 each: 65*4096 in fp32, once.
TEST(StepCases, NormGradientsAreSummedOverTp) {
  Synthetic s;
  s.state.tp_reduce = 0.5;
  EXPECT_NEAR(s.seconds(), 16 * 8 * (kF + kB) + 0.5, kTolerance);
  const test::Setup setup(load_model("llama-3.1-8b"), test::h100(8), plain_profile(), 16, 4096);
  Layout l;
  l.tp = 8, l.sp = true;
  Evaluator evaluator = setup.evaluator();
  const Chain chain = evaluator.chain(l);
  const Estimate sum =
      setup.calibration.collective(Collective::all_reduce, chain.pass->links.tp, Bytes(65 * 4096 * 4));
  EXPECT_DOUBLE_EQ(chain.state->tp_reduce, sum.time.value);
  l.sp = false;
  EXPECT_EQ(evaluator.chain(l).state->tp_reduce, 0);
}

// DualPipe holds every layer on two stages; each has summed half of the micro-batches, so that the gradients
// of all 4 layers that a stage holds (2 of its own direction, 2 of the other) are summed with the other's,
// once a step.
TEST(StepCases, TwoCopiesSumTheirGradients) {
  Synthetic s;
  s.layout.pp = 4, s.layout.schedule = kScheduleDualpipe;
  s.state.hop.ranks = s.state.hop.ranks_per_node = 2, s.state.hop.intra = BytesPerSec(4.5e11);
  const Cost without = s.cost();
  EXPECT_EQ(without.terms[Term::reduce], 0);
  s.state.kinds[0].owned = 100'000'000;
  const Seconds sum =
      s.setup.calibration.collective(Collective::all_reduce, s.state.hop, Bytes(400'000'000)).time;
  EXPECT_GT(sum.value, 400e6 / 4.5e11) << "a rank sends as many bytes as there are";
  EXPECT_NEAR(s.cost().terms[Term::reduce], sum.value, kTolerance);
  EXPECT_NEAR(s.cost().step_seconds - without.step_seconds, sum.value, kTolerance);
  s.layout.schedule = kSchedule1F1B;
  EXPECT_EQ(s.cost().terms[Term::reduce], 0) << "one copy";
}

// The slowest of 8 GPUs, 1 % apart: 1.4236 % of what is computed (Harter 1961: expected maximum of 8).
TEST(StepCases, Stragglers) {
  Synthetic s;
  s.setup.profile.gpu_speed_spread = 0.01;
  s.setup.job.gpus = 8;
  s.context = step_context(s.setup.job, s.setup.machine, Bytes(0));
  s.layout.dp = 8;  // 2 micro-batches
  EXPECT_NEAR(s.cost().terms[Term::stragglers], 0.014236 * 2 * 8 * (kF + kB), 1e-4);
}

TEST(StepCases, TermsSumToTheStep) {
  Synthetic s;
  s.layout.pp = 4, s.state.send = 0.25, s.state.kinds[0].reduce = 3, s.state.kinds[0].first_extra = 0.25;
  const Cost cost = s.cost();
  double sum = 0;
  for (const float part : cost.terms.exposed) sum += part;
  EXPECT_NEAR(sum, cost.step_seconds, kTolerance);
}

// What concerns the whole step is one error of all of it, beside those of the curves, in squares.
TEST(StepCases, WholeStepSpreadAddsInSquares) {
  Synthetic s;
  s.layout.pp = 4;
  const Cost curves = s.cost();
  s.setup.profile.spread = 0.1;
  s.context = step_context(s.setup.job, s.setup.machine, Bytes(0));
  EXPECT_NEAR(s.cost().spread_seconds, std::hypot(curves.spread_seconds, 0.1 * curves.step_seconds), 1e-9);
}

// A recipe's rule is wrong alike for all GEMMs of a step, beside all else, in squares.
TEST(StepCases, LowPrecisionIsLessKnown) {
  Synthetic s;
  const Cost curves = s.cost();
  const double low = *s.setup.calibration.data().step_errors->low_precision;
  ASSERT_GT(low, 0.01);
  s.layout.precision = Precision::fp8_current;
  EXPECT_NEAR(s.cost().spread_seconds, std::hypot(curves.spread_seconds, low * curves.step_seconds), 1e-9);
}

}  // namespace
}  // namespace tw
