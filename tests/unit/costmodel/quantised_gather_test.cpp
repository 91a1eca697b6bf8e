// Sequence-parallel operands of low-precision GEMMs: cast where they are cut, gathered in their bits.
#include <gtest/gtest.h>

#include <algorithm>

#include "costmodel/prediction.hpp"
#include "tests/unit/costmodel/oracle_fixture.hpp"

namespace tw {
namespace {

constexpr std::int32_t kS = 1024;

LayerWork layer_of(Precision precision, const Profile& profile) {
  const Model model = test::small_model({});
  PassKey key;
  key.tp = 4, key.sp = true, key.precision = precision;
  return emit_layer({&model, &profile, key, kS, {}}, model.kinds[0]);
}

// The share of their bytes that gathers (or reduce-scatters) of tp carry, in the order of the list.
std::vector<double> wires(const OpList& ops, Collective kind) {
  std::vector<double> out;
  for (const Op& op : ops) {
    const auto* c = std::get_if<CollectiveWork>(&op.work);
    if (c && c->kind == kind) out.push_back(op.wire);
  }
  return out;
}

// Forward: the inputs of QKV and of gate and up. Backward: two gradients of outputs and two inputs again.
TEST(QuantisedGathers, EightBitsOfSixteen) {
  const LayerWork work = layer_of(Precision::fp8_current, test::megatron());
  EXPECT_EQ(wires(work.forward, Collective::all_gather), (std::vector{0.5, 0.5}));
  EXPECT_EQ(wires(work.backward, Collective::all_gather), (std::vector{0.5, 0.5, 0.5, 0.5}));
  EXPECT_EQ(wires(work.forward, Collective::reduce_scatter), (std::vector{1.0, 1.0}));
}

TEST(QuantisedGathers, NotInBf16OrWithScalesByRow) {
  for (const Precision precision : {Precision::bf16, Precision::fp8_row})
    EXPECT_EQ(wires(layer_of(precision, test::megatron()).forward, Collective::all_gather),
              (std::vector{1.0, 1.0}));
}

// A scale byte for 32: 8.25 bits of 16, and a gradient in two copies.
TEST(QuantisedGathers, BlocksOfScales) {
  std::vector<double> back =
      wires(layer_of(Precision::mxfp8, test::megatron()).backward, Collective::all_gather);
  std::sort(back.begin(), back.end());
  EXPECT_EQ(back, (std::vector{8.25 / 16, 8.25 / 16, 16.5 / 16, 16.5 / 16}));
}

// Each of 4 ranks casts its quarter; of q, k and v apart only the first casts, of gate and up too. Products
// that cut their input by features cast all of their own part.
TEST(QuantisedGathers, CastsOfTheCutTensor) {
  Profile profile = test::megatron();
  profile.kernels.merged_projections = false;
  std::vector<double> casts;
  for (const Op& op : layer_of(Precision::fp8_current, profile).forward)
    if (std::holds_alternative<GemmShape>(op.work)) casts.push_back(op.cast);
  EXPECT_EQ(casts, (std::vector{0.25, 0.0, 0.0, 1.0, 0.25, 0.0, 1.0}));
}

// Stages of torch.distributed.pipelining: 4 stages, 8 micro-batches, 1f1b; a part of the residual stream is
// 1024*512*2 B = 1 MiB. Stage 1 has 3 in flight: buffers of 8 - 3 inputs (3 are kept inputs), 8 gradients and
// 3 outputs: 16 MiB. The last one 8 - 1 inputs, and 7 logits more than the one in flight, of
// 1024*1024*2 B: 1000 words padded to 128s.
TEST(StageBuffers, OfEveryMicroBatch) {
  const auto stages = [](bool buffers) {
    Profile profile = test::megatron();
    profile.memory.stage_buffers = buffers, profile.memory.allocator_slack = 0;
    test::Setup setup(test::small_model({}), test::h100(4), profile, 8, kS);
    Evaluator evaluator = setup.evaluator();
    Layout layout;
    layout.pp = 4;
    return predict(evaluator, layout).stages;
  };
  const auto was = stages(false), is = stages(true);
  const auto more = [&](std::size_t stage, MemoryPart part) {
    return is[stage].memory[part] - was[stage].memory[part];
  };
  const std::int64_t mib = std::int64_t{1} << 20;
  EXPECT_EQ(more(0, MemoryPart::activations), (8 + 4) * mib);
  EXPECT_EQ(more(1, MemoryPart::activations), 16 * mib);
  EXPECT_EQ(more(3, MemoryPart::activations), 7 * mib);
  EXPECT_EQ(more(3, MemoryPart::logits), std::int64_t{7} * 1024 * 1024 * 2);
}

// torch.compile keeps no output that only the next layer reads: by operator, the last product's is saved
// otherwise (with q, v, gate and the down projection: the first, third, fifth and seventh of seven).
TEST(KeptBytes, CompiledLayersKeepNoLastOutput) {
  const Model model = test::small_model({});
  Profile profile = test::megatron();
  profile.kernels.merged_projections = false, profile.kernels.selective_by_operator = true;
  profile.kernels.early_stop = true;
  PassKey key;
  key.recompute.modules = Recompute::core;
  const auto kept = [&] { return emit_layer({&model, &profile, key, kS, {}}, model.kinds[0]).kept_bytes; };
  const std::int64_t eager = kept();
  profile.kernels.compiled = true;
  EXPECT_EQ(eager - kept(), std::int64_t{kS} * 512 * 2);
}

}  // namespace
}  // namespace tw
