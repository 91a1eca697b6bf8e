// Model FLOPs of a token by published formulas, and the GEMMs that the blocks emit against them. Causal
// attention of one head: 2 FLOPs a pair and feature for QK^T and for PV, (s+1)/2 keys a query, three times
// for forward and backward.
#include <gtest/gtest.h>

#include "costmodel/parameters.hpp"
#include "costmodel/program/work.hpp"
#include "tests/unit/costmodel/oracle_fixture.hpp"

namespace tw {
namespace {

double flops(const char* model, std::int32_t seq) {
  return model_flops_per_token(load_model(model), seq).value;
}

// 3 * 2 * (s+1)/2 * layers * heads * (dims of q k and v)
double attention(double layers, double seq, double features) {
  return 3 * (seq + 1) * layers * features;
}

// Narayanan et al. 2021 (arXiv 2104.04473), appendix, without recomputation (72 for 96) and with the causal
// half: 72 l h^2 (1 + s/12h + V/12lh) a token. Theirs leaves out biases and norms: below one in 10,000.
TEST(ModelFlops, Gpt3) {
  constexpr double l = 96, h = 12288, s = 2048, v = 50257;
  EXPECT_NEAR(flops("gpt3-175b", 2048) / (72 * l * h * h * (1 + s / (12 * h) + v / (12 * l * h))), 1, 2e-4);
}

// 6 per parameter outside the table: 8030261248 - 128256*4096; 32 layers, 32 heads of 128 + 128.
TEST(ModelFlops, Llama8b) {
  EXPECT_DOUBLE_EQ(flops("llama-3.1-8b", 8192),
                   6 * (8030261248.0 - 128256 * 4096.0) + attention(32, 8192, 32 * 256));
}

// The tied table is the head too: 1235814400 in all count; 16 layers, 32 heads of 64 + 64.
TEST(ModelFlops, Llama1bTied) {
  EXPECT_DOUBLE_EQ(flops("llama-3.2-1b", 4096), 6 * 1235814400.0 + attention(16, 4096, 32 * 128));
}

// Two of eight experts: 46702792704 - 32 * 6 * 3*4096*14336 - 32000*4096.
TEST(ModelFlops, Mixtral) {
  const double active = 46702792704.0 - 32 * 6 * 3.0 * 4096 * 14336 - 32000 * 4096.0;
  EXPECT_DOUBLE_EQ(flops("mixtral-8x7b", 4096), 6 * active + attention(32, 4096, 32 * 256));
}

// 61 layers, 58 with 8 of 256 experts of 3*7168*2048; MLA heads of 192 + 128 (arXiv 2412.19437, section 4.2).
TEST(ModelFlops, DeepSeekV3) {
  const double active = 671026419200.0 - 58 * 248 * 3.0 * 7168 * 2048 - 129280 * 7168.0;
  EXPECT_DOUBLE_EQ(flops("deepseek-v3", 4096), 6 * active + attention(61, 4096, 128 * 320));
}

// 8 of 128 experts of 3*2048*768 in 48 layers; 32 heads of 128.
TEST(ModelFlops, Qwen3Moe) {
  const double active = 30532122624.0 - 48 * 120 * 3.0 * 2048 * 768 - 151936 * 2048.0;
  EXPECT_DOUBLE_EQ(flops("qwen3-30b-a3b", 4096), 6 * active + attention(48, 4096, 32 * 256));
}

// Half of 24 layers see 128 keys at most: 128*129/2 + (4096-128)*128 pairs of a sequence. 64 heads of 64,
// 4 of 32 experts of 3*2880*2880 + 3*2880 biases.
TEST(ModelFlops, GptOssWindows) {
  const double active = 20914757184.0 - 24 * 28 * (3.0 * 2880 * 2880 + 3 * 2880) - 201088 * 2880.0;
  const double window = (128 * 129 / 2 + (4096.0 - 128) * 128) / 4096;
  EXPECT_NEAR(
      flops("gpt-oss-20b", 4096) / (6 * active + attention(12, 4096, 64 * 128) + 12 * 6 * window * 64 * 128),
      1, 1e-12);
}

double gemm_flops(const OpList& ops) {
  double sum = 0;
  for (const Op& op : ops) {
    if (const auto* g = std::get_if<GemmShape>(&op.work))
      sum += 2.0 * static_cast<double>(g->m * g->n * g->k);
    if (const auto* e = std::get_if<GroupedGemmShape>(&op.work)) {
      sum += 2.0 * static_cast<double>(e->groups * e->n * e->k) * e->rows;
    }
    if (const auto* a = std::get_if<AttentionShape>(&op.work)) {
      // Backward dV, dP, dQ and dK: twice the forward; making QK^T again is not counted as model work.
      const double gemms = a->backward ? 4 : 2;
      sum += gemms * a->pairs * static_cast<double>(a->batch * a->heads * (a->head_dim + a->value_dim));
    }
  }
  return sum;
}

// Forward and backward of every layer and the head of one rank = the model FLOPs of its tokens, but for
// the parameters that no GEMM reads (norms; here no biases): 6 each.
void expect_emitted(const char* name, double not_in_gemms) {
  const Model model = load_model(name);
  const Profile profile = test::megatron();
  const EmitInput input{&model, &profile, {}, 4096, {}};
  double sum = 0;
  for (std::int32_t i = 0; i < model.layers(); ++i) {
    const LayerWork layer = emit_layer(input, model.layer(i));
    EXPECT_NEAR(gemm_flops(layer.backward) / gemm_flops(layer.forward), 2, 1e-12) << name;
    sum += gemm_flops(layer.forward) + gemm_flops(layer.backward);
  }
  const LayerWork head = emit_head(input);
  sum += gemm_flops(head.forward) + gemm_flops(head.backward);
  EXPECT_NEAR(sum / 4096 / (flops(name, 4096) - 6 * not_in_gemms), 1, 1e-12) << name;
}

TEST(EmittedFlops, AreTheModelFlops) {
  expect_emitted("llama-3.1-8b", 65 * 4096);
  expect_emitted("llama-3.2-1b", 33 * 2048);
  expect_emitted("mixtral-8x7b", 65 * 4096);
  expect_emitted("deepseek-v3",
                 61 * (2 * 7168 + 1536 + 512) + 7168 + 58 * 256);  // and the router's correction bias
  expect_emitted("qwen3-30b-a3b", 97 * 2048 + 48 * 2 * 128);       // and norms of q and k
}

}  // namespace
}  // namespace tw
