// Memory derived by hand: what layers keep (Korthikanti et al. 2022, arXiv 2205.05198, section 4), the
// states of ZeRO (Rajbhandari et al. 2020, arXiv 1910.02054, section 3) and of HSDP, in-flight counts,
// full:N, experts with etp, logits.
//
// Kept by a GPT layer, bytes over s*b*h (their section 4.1), without dropout, with flash attention:
//   attention: input of QKV 2, Q and K 4, V 2, context = input of the projection 2 (dropout mask 1: gone;
//   softmax and its dropout 5as/h: gone; the log-sum-exp of flash attention instead: 4 bytes a row and head);
//   MLP: input 2, GeLU's input 8 and output 8 (mask 1: gone); norms: their inputs 2 + 2.
//   10 + 18 + 4 = 32 instead of 34, all of it over t with sequence parallelism.
#include <gtest/gtest.h>

#include "costmodel/memory.hpp"
#include "tests/unit/costmodel/oracle_fixture.hpp"

namespace tw {
namespace {

constexpr std::int64_t kS = 2048, kH = 12288, kA = 96, kSbh = kS * kH;  // GPT-3, b = 1

LayerWork gpt3_layer(const PassKey& key, std::int32_t seq = kS) {
  const Model model = load_model("gpt3-175b");
  const Profile profile = test::megatron();
  return emit_layer({&model, &profile, key, seq, {}}, model.kinds[0]);
}

PassKey tp8(bool sp) {
  PassKey key;
  key.tp = 8, key.sp = sp;
  return key;
}

constexpr std::int64_t kLse = 4 * kA * kS;  // bytes, over t

TEST(KeptBytes, Gpt3WithSequenceParallelism) {
  EXPECT_EQ(gpt3_layer(tp8(true)).kept_bytes, 32 * kSbh / 8 + kLse / 8);
}

// fp8: the inputs of QKV (2 to 1), of the MLP (2 to 1) and of its second product (8 to 4) are kept as the
// GEMMs read them; the context stays for attention and the projection keeps a copy (+ 1): 32 - 6 + 1 = 27.
// mxfp8: 7 of these bytes carry a scale of one byte for 32 of them. Where originals are kept, nothing
// changes.
TEST(KeptBytes, QuantisedInputs) {
  PassKey key = tp8(true);
  key.precision = Precision::fp8_current;
  EXPECT_EQ(gpt3_layer(key).kept_bytes, 27 * kSbh / 8 + kLse / 8);
  key.precision = Precision::mxfp8;
  EXPECT_EQ(gpt3_layer(key).kept_bytes, 27 * kSbh / 8 + 7 * kSbh / 8 / 32 + kLse / 8);
  const Model model = load_model("gpt3-175b");
  Profile profile = test::megatron();
  profile.kernels.low_precision_inputs = false;
  EXPECT_EQ(emit_layer({&model, &profile, key, kS, {}}, model.kinds[0]).kept_bytes, 32 * kSbh / 8 + kLse / 8);
}

// Without it only the tensors between the two GEMMs are cut (equation 2: 10 + 24/t with dropout):
// QKV's and the MLP's inputs and the norms' stay whole, 2 + 2 + 4 = 8; 6 + 2 + 16 = 24 over t.
TEST(KeptBytes, Gpt3WithTensorParallelismAlone) {
  EXPECT_EQ(gpt3_layer(tp8(false)).kept_bytes, 8 * kSbh + 24 * kSbh / 8 + kLse / 8);
}

// Whole gathered inputs where the profile keeps them: QKV's and the MLP's are then not over t.
TEST(KeptBytes, GatheredInputsKept) {
  const Model model = load_model("gpt3-175b");
  Profile profile = test::megatron();
  profile.kernels.regather_input = false;
  const LayerWork work = emit_layer({&model, &profile, tp8(true), kS, {}}, model.kinds[0]);
  EXPECT_EQ(work.kept_bytes, 4 * kSbh + 28 * kSbh / 8 + kLse / 8);
}

// Selective (section 5): the attention core again; its inputs and the context, which the projection
// reads, stay: only the statistics go. They are alive during the layer's backward.
TEST(KeptBytes, SelectiveRecomputation) {
  PassKey key = tp8(true);
  key.recompute.modules = Recompute::core;
  const LayerWork work = gpt3_layer(key);
  EXPECT_EQ(work.kept_bytes, 32 * kSbh / 8);
  EXPECT_EQ(work.recomputed_bytes, kLse / 8);
}

// Full (table 2: 2sbh, here cut by sp): the input of the layer; the other 30sbh/t of its tensors and the
// statistics come back for one layer at a time.
TEST(KeptBytes, FullRecomputation) {
  PassKey key = tp8(true);
  key.recompute.full = true;
  const LayerWork work = gpt3_layer(key);
  EXPECT_EQ(work.kept_bytes, 2 * kSbh / 8);
  EXPECT_EQ(work.recomputed_bytes, 30 * kSbh / 8 + kLse / 8);
}

// Norms again (Megatron-Core, output-discarding): the two normed inputs go, 4sbh/t.
TEST(KeptBytes, NormsMadeAgain) {
  PassKey key = tp8(true);
  key.recompute.modules = Recompute::norm;
  EXPECT_EQ(gpt3_layer(key).kept_bytes, 28 * kSbh / 8 + kLse / 8);
}

// Unfused attention keeps 5as/h more with causal pairs counted: half of the square, plus the diagonal.
TEST(KeptBytes, UnfusedAttentionKeepsScores) {
  const Model model = load_model("gpt3-175b");
  Profile profile = test::megatron();
  profile.kernels.attention = AttentionKernel::unfused, profile.kernels.unfused_pair_bytes = 5;
  const LayerWork work = emit_layer({&model, &profile, tp8(true), kS, {}}, model.kinds[0]);
  EXPECT_GE(work.kept_bytes, 32 * kSbh / 8 + 5 * kA / 8 * kS * kS / 2);
}

// Mixtral-8x7B, tp 1, ep 4, etp 2: T = 4096 tokens, h 4096, ffn 14336, top-2, two experts a rank. Attention
// of one rank keeps x, normed, q k v (4096 + 2*1024 features), context, lse. Experts: x, normed, scores
// (2 of 8 bytes; probabilities of all 8 in fp32), rows of both ranks of etp 2*T*2, gathered again in the
// backward but sorted by expert, so kept whole; gate and up of half the ffn, and their product. MoE ranks:
// T*2*2 rows of etp.
TEST(KeptBytes, ExpertsWithExpertTensorParallelism) {
  const Model model = load_model("mixtral-8x7b");
  const Profile profile = test::megatron();
  PassKey key;
  key.ep = 4, key.etp = 2;
  const std::int64_t t = 4096, h = 4096, rows = 2 * t * 2, half = 14336 / 2;
  const std::int64_t attention = 2 * t * (h + h + (h + 2048) + h) + 4 * 32 * t;
  const std::int64_t moe = 2 * t * (h + h) + (16 + 4 * 8) * t + 2 * rows * (h + 2 * half + half);
  EXPECT_EQ(emit_layer({&model, &profile, key, 4096, {}}, model.kinds[0]).kept_bytes, attention + moe);
}

// Latent attention of DeepSeek-V3's dense layers (arXiv 2405.04434, section 2.1), features a token: x and
// normed x 7168; q latent before and after its norm 1536; kv latent with rotary part 576, its normed part of
// 512; per head q and k of 192 and v of 128; context 128; log-sum-exp 4 bytes a head. MLP: x, normed x, gate
// and up, product of 18432.
TEST(KeptBytes, LatentAttention) {
  const Model model = load_model("deepseek-v3");
  const Profile profile = test::megatron();
  const std::int64_t features = 2 * 7168 + 2 * 1536 + 576 + 512 + 128 * (2 * 192 + 128) + 128 * 128;
  const std::int64_t mlp = 2 * 7168 + 3 * 18432;
  const LayerWork work = emit_layer({&model, &profile, {}, 4096, {}}, model.kinds[0]);
  EXPECT_EQ(work.kept_bytes, 4096 * (2 * (features + mlp) + 4 * 128));
}

// The busiest rank's rows at max/mean 1.5: only the tensors behind the dispatch grow.
TEST(KeptBytes, SkewedRoutingGrowsTheExpertTensors) {
  const Model model = load_model("mixtral-8x7b");
  const Profile profile = test::megatron();
  PassKey key;
  key.ep = 8;
  const auto kept = [&](double skew) {
    return emit_layer({&model, &profile, key, 4096, {skew, 0}}, model.kinds[0]).kept_bytes;
  };
  // One expert a rank: no sorting; the expert input is kept where it arrived: h + 3 * ffn features.
  EXPECT_EQ(kept(1.5) - kept(1), 4096 * (4096 + 3 * 14336) * 2);
}

// States -----------------------------------------------------------------------------------------

struct StateBytes {
  std::int64_t parameters, gradients, optimizer;
};

StateBytes states(const Layout& layout, const Profile& profile) {
  const test::Setup setup(load_model("llama-3.1-8b"), test::h100(layout.gpus()), profile, 64, 4096);
  Evaluator evaluator = setup.evaluator();
  const KindState& s = evaluator.chain(layout).state->kinds[0];
  return {s.parameters, s.gradients, s.moments};
}

// Llama-3.1-8B layer: 2*4096^2 + 2*4096*1024 + 3*4096*14336 + 2*4096 = 218112000 parameters.
constexpr std::int64_t kLayer = 218'112'000;

// Rajbhandari et al., section 3.1 with fp32 gradients: 2 + 4 + 12; stage 1 cuts 12, 2 cuts 4, 3 cuts 2.
TEST(States, ZeroStages) {
  Profile profile = test::megatron();
  profile.state.reduce_every_microbatch = true;
  Layout l;
  l.dp = 16;
  for (std::int32_t zero = 0; zero <= 3; ++zero) {
    l.zero = zero;
    const StateBytes s = states(l, profile);
    EXPECT_EQ(s.parameters, 2 * kLayer / (zero >= 3 ? 16 : 1)) << zero;
    EXPECT_EQ(s.gradients, 4 * kLayer / (zero >= 2 ? 16 : 1)) << zero;
    EXPECT_EQ(s.optimizer, 12 * kLayer / (zero >= 1 ? 16 : 1)) << zero;
  }
}

// ZeRO-2 that reduces at the end of the step sums four micro-batches into whole gradients; with one
// micro-batch there is nothing to sum.
TEST(States, GradientsSummedBeforeTheyAreReducedAreWhole) {
  Layout l;
  l.dp = 16, l.zero = 2;
  EXPECT_EQ(states(l, test::megatron()).gradients, 4 * kLayer);
  l.mb = 4;
  EXPECT_EQ(states(l, test::megatron()).gradients, 4 * kLayer / 16);
}

// FSDP without resharding after the forward: fp32 shards, and the whole parameters in bf16.
TEST(States, ShardedGradientsAndOptimizerWithoutALowPrecisionCopy) {
  Layout l;
  l.dp = 16, l.zero = 2;
  const StateBytes s = states(l, load_profile(test::scenario("frameworks", "torchtitan")));
  EXPECT_EQ(s.parameters, 4 * kLayer / 16 + 2 * kLayer);
  EXPECT_EQ(s.gradients, 4 * kLayer / 16);
  EXPECT_EQ(s.optimizer, 8 * kLayer / 16);
}

// FSDP under a pipeline: gathered for the step in bf16, gradients whole in fp32 until its last micro-batch,
// their shards beside them.
TEST(States, WholeUnderAPipeline) {
  Layout l;
  l.dp = 8, l.pp = 2, l.zero = 3;
  const StateBytes s = states(l, load_profile(test::scenario("frameworks", "torchtitan")));
  EXPECT_EQ(s.parameters, 4 * kLayer / 8 + 2 * kLayer);
  EXPECT_EQ(s.gradients, 4 * kLayer + 4 * kLayer / 8);
  EXPECT_EQ(s.optimizer, 8 * kLayer / 8);
}

// Over cp too: ranks of cp hold the same weights.
TEST(States, ContextParallelRanksShareAShard) {
  Layout l;
  l.dp = 4, l.cp = 4, l.zero = 1;
  EXPECT_EQ(states(l, test::megatron()).optimizer, 12 * kLayer / 16);
}

// HSDP (arXiv 2304.11277, section 3.2.2): shards within groups of 8 of 16.
TEST(States, HybridShards) {
  Layout l;
  l.dp = 16, l.zero = 3, l.hsdp = 8;
  const StateBytes s = states(l, test::megatron());
  EXPECT_EQ(s.parameters, 2 * kLayer / 8);
  EXPECT_EQ(s.optimizer, 12 * kLayer / 8);
}

// Parameters that are their own master (no bf16 copy): 4 + 4 + 8 bytes.
TEST(States, WithoutALowPrecisionCopy) {
  Profile profile = test::megatron();
  profile.state.low_precision_copy = false;
  Layout l;
  l.dp = 16, l.zero = 3;
  const StateBytes s = states(l, profile);
  EXPECT_EQ(s.parameters, 4 * kLayer / 16);
  EXPECT_EQ(s.optimizer, 8 * kLayer / 16);
}

// Stages -----------------------------------------------------------------------------------------

std::vector<StageDetail> stages_of(const test::Setup& setup, const Layout& layout) {
  Evaluator evaluator = setup.evaluator();
  std::vector<StageDetail> stages;
  evaluator.cost(layout, stages);
  return stages;
}

Layout gpt3_layout() {
  Layout l;
  l.tp = 8, l.pp = 16, l.sp = true;
  return l;
}

// GPT-3 on tp 8, pp 16, 1F1B, 64 micro-batches: stage s keeps pp - s of them (6 layers each); the head's
// input and normed input once, its logits apart: 50,257 rows padded to 51,200 = 50 * 8 * 128, 6,400 on a
// rank, in bf16 and one fp32 copy.
TEST(Stages, Gpt3KeepsItsMicrobatchesInFlight) {
  const test::Setup setup(load_model("gpt3-175b"), test::h100(128), test::megatron(), 64, kS);
  const auto stages = stages_of(setup, gpt3_layout());
  const std::int64_t layer = 32 * kSbh / 8 + kLse / 8;
  for (std::int64_t s = 0; s < 15; ++s) {
    EXPECT_EQ(stages[static_cast<std::size_t>(s)].memory[MemoryPart::activations], 6 * (16 - s) * layer) << s;
  }
  // The head keeps its norm's input and output, and of each token the maximum, sum and target in fp32.
  const std::int64_t logits = kS * 6400 * 2;
  EXPECT_EQ(stages[15].memory[MemoryPart::activations], 6 * layer + 4 * kSbh / 8 + 12 * kS);
  EXPECT_EQ(stages[15].memory[MemoryPart::logits], logits + 2 * logits);
}

// Interleaved with v = 2 (equation of section 4.2.3 and Narayanan et al. 2021): the first stage keeps
// 2(pp - 1) + (v - 1)pp + 1 chunk passes of L/(pp*v) layers: 30 + 16 + 1 = 47 of 3 layers.
TEST(Stages, InterleavingKeepsMore) {
  const test::Setup setup(load_model("gpt3-175b"), test::h100(128), test::megatron(), 64, kS);
  Layout l = gpt3_layout();
  l.vpp = 2, l.schedule = kScheduleInterleaved;
  const std::int64_t layer = 32 * kSbh / 8 + kLse / 8;
  EXPECT_EQ(stages_of(setup, l)[0].memory[MemoryPart::activations], 47 * 3 * layer);
}

// full:2 of 6 layers: two keep 2sbh/t, four everything; one recomputed layer is alive.
TEST(Stages, TwoLayersOfSixRecomputed) {
  const test::Setup setup(load_model("gpt3-175b"), test::h100(128), test::megatron(), 64, kS);
  Layout l = gpt3_layout();
  l.recompute.full = true, l.recompute.full_layers = 2;
  const std::int64_t kept = 2 * (2 * kSbh / 8) + 4 * (32 * kSbh / 8 + kLse / 8);
  EXPECT_EQ(stages_of(setup, l)[3].memory[MemoryPart::activations], (16 - 3) * kept);
}

// Weights of GPT-3 on tp 8, pp 16: 6 layers of 12h^2 + 13h parameters (Narayanan et al. 2021, section
// 4.1), of which over t: 12h^2, the biases of QKV 3h and of the MLP's first half 4h; whole: two norms 4h and
// the two biases of the row-cut projections 2h.
TEST(Stages, Gpt3Parameters) {
  const test::Setup setup(load_model("gpt3-175b"), test::h100(128), test::megatron(), 64, kS);
  const auto stages = stages_of(setup, gpt3_layout());
  const std::int64_t layer = (12 * kH * kH + 7 * kH) / 8 + 6 * kH;
  EXPECT_EQ(stages[3].memory[MemoryPart::parameters], 2 * 6 * layer);
  EXPECT_EQ(stages[3].memory[MemoryPart::gradients], 4 * 6 * layer);
  EXPECT_EQ(stages[3].memory[MemoryPart::optimizer], 12 * 6 * layer);
}

// Tied embeddings: one stage holds one table; two stages hold a copy each, first and last
// (Narayanan et al. 2021; Megatron-LM keeps both equal with an all-reduce).
TEST(Stages, ATiedTableIsHeldOnceAStage) {
  const std::int64_t table = 128256LL * 2048, all = 1'235'814'400;
  const test::Setup one(load_model("llama-3.2-1b"), test::h100(8), test::megatron(), 64, 4096);
  Layout l;
  l.dp = 8;
  EXPECT_EQ(stages_of(one, l)[0].memory[MemoryPart::parameters], 2 * all);
  l.dp = 4, l.pp = 2;
  const auto two = stages_of(one, l);
  EXPECT_EQ(two[0].memory[MemoryPart::parameters] + two[1].memory[MemoryPart::parameters], 2 * (all + table));
}

// ZeRO-3, two neighbours whole at once: the worst are the head (table and final norm) and a layer.
TEST(Stages, AHeadIsGatheredBesideALayer) {
  Profile profile = test::megatron();
  Layout l;
  l.dp = 16, l.zero = 3;
  const auto temporary = [&](double layers) {
    profile.state.gathered_layers = layers;
    const test::Setup setup(load_model("llama-3.1-8b"), test::h100(16), profile, 64, 4096);
    return stages_of(setup, l)[0].memory[MemoryPart::temporary];
  };
  EXPECT_EQ(temporary(2) - temporary(0), 2 * (128256LL * 4096 + 4096 + kLayer));
  EXPECT_EQ(temporary(1) - temporary(0), 2 * (128256LL * 4096 + 4096));
}

// Logits are freed before a layer is made again in the backward: of the two, the larger needs room.
TEST(Stages, LogitsAndRecomputationTakeTurns) {
  const auto use = [](double copies) {
    Profile profile = test::megatron();
    profile.memory.logit_copies = copies;
    const test::Setup setup(load_model("gpt3-175b"), test::h100(8), profile, 64, kS);
    Layout l;
    l.dp = 8, l.recompute.full = true;
    return stages_of(setup, l)[0].memory;
  };
  const MemoryUse none = use(0), few = use(0.1), many = use(10);
  const std::int64_t workspace = test::megatron().memory.workspace.count;
  const std::int64_t moment = none[MemoryPart::temporary] + none[MemoryPart::logits] - workspace;
  EXPECT_GT(few[MemoryPart::logits], none[MemoryPart::logits]);
  EXPECT_EQ(few[MemoryPart::temporary] - workspace,
            std::max<std::int64_t>(moment - few[MemoryPart::logits], 0));
  EXPECT_EQ(many[MemoryPart::temporary], workspace);
}

// The peak is the sum of its parts and the largest of the stages.
TEST(Stages, TheWorstStageDecides) {
  const test::Setup setup(load_model("gpt3-175b"), test::h100(128), test::megatron(), 64, kS);
  Evaluator evaluator = setup.evaluator();
  std::vector<StageDetail> stages;
  const Cost cost = evaluator.cost(gpt3_layout(), stages);
  std::int64_t most = 0;
  for (const StageDetail& s : stages) most = std::max(most, s.memory.total());
  EXPECT_EQ(cost.memory.total(), most);
  EXPECT_EQ(cost.fits, most <= setup.cluster.device.memory.count);
}

// A module of multi-token prediction is a layer, two norms and a projection of 2h to h before it, and one
// more pass through the head, whose weights it shares: against a model of one more layer.
TEST(MultiTokenPrediction, IsALayerItsEntryAndOneMoreHead) {
  constexpr std::int64_t kHidden = 512;
  Model with = test::small_model({.layers = 4});
  with.mtp_layers = 1;
  const test::Setup longer(test::small_model({.layers = 5}), test::h100(8), test::megatron(), 8, 1024);
  const test::Setup module(with, test::h100(8), test::megatron(), 8, 1024);
  Layout l;
  l.dp = 8;
  Evaluator of_longer = longer.evaluator(), of_module = module.evaluator();
  const Cost a = of_longer.cost(l), b = of_module.cost(l);
  EXPECT_EQ(b.memory[MemoryPart::parameters] - a.memory[MemoryPart::parameters],
            2 * (2 * kHidden * kHidden + 2 * kHidden));
  EXPECT_NEAR(b.terms[Term::head], 2 * a.terms[Term::head], 1e-6);
  EXPECT_GT(b.terms[Term::gemm], a.terms[Term::gemm]);
  EXPECT_EQ(b.memory[MemoryPart::logits], 2 * a.memory[MemoryPart::logits]);
}

}  // namespace
}  // namespace tw
