// Rules for what a source leaves out, on rows made by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>

#include "costmodel/parameters.hpp"
#include "planner/validate/compare.hpp"
#include "planner/validate/fill_layout.hpp"
#include "planner/validate/fill_machine.hpp"
#include "planner/validate/fill_model.hpp"
#include "planner/validate/predict_row.hpp"
#include "planner/validate/settle.hpp"
#include "planner/validate/words.hpp"

namespace tw::validate {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

Row named(const std::string& name) {
  Row row;
  row.model.name = name, row.model.seq_len = 4096;
  return row;
}

TEST(ValidateFill, ANameOfTheCatalogueGivesEverything) {
  std::vector<std::string> filled;
  const FilledModel moe = fill_model(named("Qwen3_30B_a3B"), 0, filled);
  EXPECT_EQ(moe.why_not, "");
  EXPECT_EQ(moe.model.moe()->experts, 128);
  EXPECT_THAT(filled, Contains(HasSubstr("qwen3-30b-a3b")));
  EXPECT_EQ(fill_model(named("LLAMA3.1_405B"), 0, filled).model.layers(), 126);
}

TEST(ValidateFill, ATruncatedModelKeepsOneDenseLayer) {
  Row row = named("deepseekv3 truncated to 4 layers");
  row.model.layers = 4, row.model.hidden = 7168;
  std::vector<std::string> filled;
  const Model model = fill_model(row, 0, filled).model;
  ASSERT_EQ(model.layers(), 4);
  EXPECT_TRUE(model.layer(0).mlp);
  EXPECT_TRUE(model.layer(1).moe);
  EXPECT_EQ(model.layer(3).attention.kind, AttentionKind::latent);
}

TEST(ValidateFill, SizesThatDisagreeWithTheNameWin) {
  Row row = named("llama3_405b truncated to 4 layers");  // with 16 KV heads: not the catalogue's model
  row.model.layers = 4, row.model.hidden = 16384, row.model.heads = 128, row.model.kv_heads = 16;
  row.model.ffn_hidden = 53248, row.model.vocab = 128256;
  std::vector<std::string> filled;
  const Model model = fill_model(row, 0, filled).model;
  EXPECT_EQ(model.kinds.at(0).attention.kv_heads, 16);
  EXPECT_TRUE(model.kinds.at(0).mlp->gated);
}

// LLaMA-13B: 13.02 B with 32000 words; the plain GPT of the same width has 12*l*h^2 = 12.6 B and more.
TEST(ValidateFill, TheConventionWhoseParameterCountMatches) {
  Row row = named("mystery");
  row.model.layers = 24, row.model.hidden = 2048, row.model.heads = 16, row.model.ffn_hidden = 8192;
  row.model.seq_len = 2048;
  // 12*24*2048^2 = 1.208 B, + 51200*2048 (tied) = 0.105, + positions and biases: 1.3176 B.
  row.model.params_b = 1.3176;
  std::vector<std::string> filled;
  const Model plain = fill_model(row, 0, filled).model;
  EXPECT_FALSE(plain.kinds.at(0).mlp->gated);
  EXPECT_TRUE(plain.tied_embeddings);
  // Gated and untied: (4 + 12)*24*2048^2 = 1.611, + 2*32000*2048 = 0.131: 1.742 B.
  row.model.params_b = 1.742;
  const Model gated = fill_model(row, 0, filled).model;
  EXPECT_TRUE(gated.kinds.at(0).mlp->gated);
  EXPECT_FALSE(gated.tied_embeddings);
}

TEST(ValidateFill, MptCountsAreMet) {
  Row row = named("MPT-7b");
  row.model.layers = 32, row.model.hidden = 4096, row.model.heads = 32, row.model.ffn_hidden = 16384;
  row.model.vocab = 50368, row.model.seq_len = 2048;
  std::vector<std::string> filled;
  const Model model = fill_model(row, 0, filled).model;
  EXPECT_NEAR(static_cast<double>(count_parameters(model).total), 6.6589e9, 1e5);  // printed by llm-foundry
}

TEST(ValidateFill, ExplicitKeysOfTheRowWin) {
  Row row = named("mystery");
  row.model.layers = 2, row.model.hidden = 512, row.model.heads = 8, row.model.head_dim = 128;
  row.model.gated_mlp = false, row.model.tied_embeddings = true, row.model.vocab = 1000;
  std::vector<std::string> filled;
  const Model model = fill_model(row, 0, filled).model;
  EXPECT_EQ(model.kinds.at(0).attention.head_dim, 128);
  EXPECT_FALSE(model.kinds.at(0).mlp->gated);
  EXPECT_TRUE(model.tied_embeddings);
  EXPECT_EQ(model.vocab, 1000);
}

TEST(ValidateWords, Zero) {
  const auto zero = [](const char* text) { return read_zero_words(text)->zero; };
  EXPECT_EQ(zero("1 (distributed optimizer; DDP)"), 1);
  EXPECT_EQ(zero("FSDP2 (3)"), 3);
  EXPECT_EQ(zero("3 (FSDP FULL_SHARD)"), 3);
  EXPECT_EQ(zero("0"), 0);
  EXPECT_EQ(zero("DDP"), 0);
  EXPECT_EQ(zero("ZeRO-2"), 2);
  EXPECT_EQ(read_zero_words("FSDP(3), shard group 64")->shard, 64);
  EXPECT_FALSE(read_zero_words("FSDP2 (3)")->shard);
  EXPECT_FALSE(read_zero_words("perhaps"));
}

TEST(ValidateWords, Precision) {
  const auto hopper = [](const char* text, int year) { return read_precision_words(text, year, false); };
  EXPECT_EQ(hopper("FP8 (release default: current scaling)", 2025), Precision::fp8_current);
  EXPECT_EQ(hopper("FP8 delayed scaling", 2025), Precision::fp8_delayed);
  EXPECT_EQ(hopper("FP8", 2024), Precision::fp8_delayed);
  EXPECT_EQ(hopper("FP8", 2026), Precision::fp8_current);
  EXPECT_EQ(hopper("float8", 2024), Precision::fp8_current);
  EXPECT_EQ(hopper("float8 rowwise", 2025), Precision::fp8_row);
  EXPECT_EQ(hopper("amp_bf16", 2023), Precision::bf16);
  EXPECT_EQ(hopper("fp16 mixed", 2021), Precision::bf16);
  EXPECT_EQ(hopper("NVFP4", 2026), Precision::nvfp4);
  const char* finer = "FP8 (release default: current scaling) / alternate (finer) quantization granularity";
  EXPECT_EQ(read_precision_words(finer, 2025, false), Precision::fp8_block);
  EXPECT_EQ(read_precision_words(finer, 2025, true), Precision::mxfp8);
}

TEST(ValidateWords, Recompute) {
  const auto modules = [](const char* text, bool moe) {
    return read_recompute_words(text, moe, false)->recompute.modules;
  };
  EXPECT_TRUE(read_recompute_words("full", false, false)->recompute.full);
  EXPECT_EQ(read_recompute_words("full:7", false, false)->recompute.full_layers, 7);
  EXPECT_EQ(modules("none", false), 0);
  EXPECT_EQ(modules("core_attn", true), Recompute::core);
  EXPECT_EQ(modules("selective layernorm+moe", true), Recompute::norm | Recompute::mlp);
  EXPECT_EQ(modules("layernorm+moe_act", true), Recompute::norm | Recompute::moe_act);
  EXPECT_EQ(modules("mla_up_proj+mlp", true), Recompute::mla_up);  // the dense layer's MLP alone
  EXPECT_DOUBLE_EQ(read_recompute_words("selective layer", false, true)->layer_share, 0.5);
  EXPECT_DOUBLE_EQ(read_recompute_words("selective op", false, false)->layer_share, 0.36);
  EXPECT_EQ(read_recompute_words("selective op", false, true)->recompute.modules, Recompute::core);
  EXPECT_EQ(modules("selective", false), Recompute::core);
  EXPECT_FALSE(read_recompute_words("most of it", false, false));
}

TEST(ValidateSettle, SplitsCountEmbeddingAndHeadAsLayers) {
  const auto split = near_even_split(126, 128);  // Llama-3.1-405B on pp 16 x vpp 8
  EXPECT_EQ(split.front(), 0);
  EXPECT_EQ(split.back(), 0);
  EXPECT_EQ(split[1], 1);
  // 61 + 2 = 63 = 16 * 3 + 15: every chunk but the first holds 4, less one layer at each end.
  EXPECT_THAT(near_even_split(61, 16), ElementsAre(2, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 3));
  // DeepSeek-V3 with its module of multi-token prediction, a layer and a head more at the end: 61 + 3 = 16
  // * 4.
  EXPECT_THAT(near_even_split(61, 16, 1), ElementsAre(4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 1));
  // 61 + 3 = 32 * 2: the last chunk is module and head alone, and its missing layer comes off the first.
  const auto many = near_even_split(61, 32, 1);
  EXPECT_EQ(many.front(), 1);
  EXPECT_EQ(many.back(), 0);
  EXPECT_EQ(std::accumulate(many.begin(), many.end(), 0), 61);
}

// Embedding, 40 layers, norm and head are 43 modules: 11, 11, 11 and 10; 63 on two stages are 32 and 31.
TEST(ValidateSettle, ListsOfModulesAreCutEvenly) {
  EXPECT_THAT(even_list_split(40, 4, {1, 2}), ElementsAre(10, 11, 11, 8));
  EXPECT_THAT(even_list_split(60, 2, {1, 2}), ElementsAre(31, 29));
}

struct Case {
  Model model;
  Job job;
  explicit Case(const char* name, std::int64_t batch, std::int32_t gpus)
      : model(load_model(name)), job{&model, batch, 4096, gpus} {}
};

Layout settled(Layout layout, const Case& c, const RowLayout& said) {
  std::vector<std::string> near;
  settle(layout, {c.job, said, 0}, near);
  EXPECT_EQ(illegal_because(layout, c.job), "");
  return layout;
}

TEST(ValidateSettle, ReadsPublishedLayoutsAsLegalOnes) {
  Layout interleaved;
  interleaved.tp = 4, interleaved.pp = 16, interleaved.vpp = 8, interleaved.zero = 1, interleaved.sp = true;
  const Case big("llama-3.1-405b", 1536, 256);
  EXPECT_EQ(settled(interleaved, big, {}).dp, 4);
  Layout fsdp;
  fsdp.tp = 1, fsdp.zero = 3, fsdp.hsdp = 8, fsdp.sp = true;
  const Layout read = settled(fsdp, Case("llama-3.1-8b", 16, 8), {});
  EXPECT_EQ(read.hsdp, 0);  // a shard group of all ranks is the default
  EXPECT_FALSE(read.sp);    // tp 1 has nothing to cut
  Layout experts;
  experts.ep = 32, experts.etp = 1, experts.dp = 8;
  EXPECT_EQ(settled(experts, Case("qwen3-30b-a3b", 16, 8), {}).ep, 8);  // no group is larger than a stage
}

// torchtitan of 2024: as many micro-batches as stages, two stages a rank where a schedule has several. 64
// sequences on dp 2: 32 a rank, 8 stages of 4 sequences each, or 16 of 2.
TEST(ValidateFill, MicroBatchesByStagesWhereAFrameworkCutsThemSo) {
  Row row = named("llama3.1-405b");
  row.layout.dp = 2, row.layout.tp = 8, row.layout.pp = 8, row.layout.recompute = "full";
  row.layout.zero = "FSDP2 (3)", row.layout.sp = true;
  const Model model = load_model("llama-3.1-405b");
  const Profile profile = load_profile("torchtitan");
  const Job job{&model, 64, 8192, 128};
  const auto filled = [&](const std::string& schedule) {
    row.layout.schedule = schedule;
    std::vector<std::string> notes;
    return fill_layouts({row, {}, {}, profile, job}, notes);
  };
  const FilledLayouts plain = filled("1F1B"), several = filled("Interleaved 1F1B");
  ASSERT_EQ(plain.layouts.size(), 1);
  EXPECT_EQ(plain.layouts[0].mb, 4);
  ASSERT_EQ(several.layouts.size(), 1);
  EXPECT_EQ(several.layouts[0].vpp, 2);
  EXPECT_EQ(several.layouts[0].mb, 2);
  EXPECT_TRUE(several.exact);
}

TEST(ValidateFill, NetworkRateAndGpuNames) {
  Row row;
  row.cluster.gpus = 16;
  std::vector<std::string> filled;
  row.cluster.gpu = "H100-95GB-HBM2e";
  EXPECT_EQ(fill_cluster(row, filled).cluster.gpu, "h100-96gb-hbm2e-500w");
  row.cluster.gpu = "A100-80GB", row.cluster.inter_link_gbps_per_gpu = 100;
  const Cluster slow = fill_cluster(row, filled).cluster;
  EXPECT_DOUBLE_EQ(in_gbps(slow.node.nic_rate) * slow.node.nics / slow.node.gpus, 12.5);
  EXPECT_THAT(filled, Contains(HasSubstr("100 Gb/s")));
}

TEST(ValidateCompare, FlopConventions) {
  // Equation 3 of Narayanan et al. 2021 for GPT-3: 96 l h^2 (1 + s/6h + V/16lh) per token.
  const Model gpt = load_model("gpt3-175b");
  const double l = 96, h = 12288, s = 2048, v = gpt.vocab;
  const double equation = 96 * l * h * h * (1 + s / (6 * h) + v / (16 * l * h));
  EXPECT_NEAR(counted_flops(gpt, 2048, FlopsConvention::recomputed).value / equation, 1,
              2e-3);  // biases, norms
  const double causal = counted_flops(gpt, 2048, FlopsConvention::causal).value;
  // The other half of attention: 6 l s h per token.
  EXPECT_NEAR(counted_flops(gpt, 2048, FlopsConvention::full).value - causal, 6 * l * s * h, 1e-3 * causal);
}

// Without folding experts are cut by tp; a row that says etp keeps its own.
TEST(ValidateFill, ExpertsAreCutByTpWhereTheirSourceSaysSo) {
  Row row = named("mixtral-8x22b");
  row.layout.tp = 2, row.layout.ep = 8, row.layout.pp = 1, row.layout.micro_batch = 1, row.layout.zero = "1";
  const Case mixtral("mixtral-8x22b", 128, 256);
  SourceRule rule;
  const auto etp_of = [&](bool by_tp) {
    rule.etp_is_tp = by_tp;
    std::vector<std::string> filled;
    const Profile profile = load_profile("megatron-2024");
    const FilledLayouts out = fill_layouts({row, rule, {}, profile, mixtral.job, false}, filled);
    return out.layouts.empty() ? 0 : out.layouts.front().etp;
  };
  EXPECT_EQ(etp_of(true), 2);
  EXPECT_EQ(etp_of(false), 1);
  row.layout.etp = 4;
  EXPECT_EQ(etp_of(true), 4);
}

TEST(ValidateFill, SourcesSayTheirFramework) {
  Scenarios scenarios;
  const SourceRules& rules = scenarios.rules();
  Row row;
  row.source = "Narayanan et al. 2021 (arXiv 2104.04473) Table 2", row.layout.zero = "3";
  EXPECT_EQ(rules.of(row).frameworks.front(), "deepspeed-2021");
  row.layout.zero = "0";
  EXPECT_EQ(rules.of(row).frameworks.front(), "megatron-2021");
  EXPECT_EQ(rules.of(row).flops, FlopsConvention::recomputed);
  row.source = "nobody knows";
  EXPECT_TRUE(rules.of(row).match.empty());
}

}  // namespace
}  // namespace tw::validate
