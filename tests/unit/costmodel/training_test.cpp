// Adapters on frozen weights, packed documents and repeated samples: operations, elements and bytes by
// hand for one layer of the small model (hidden 512, q 512, k and v 256 each, ffn 1024, 1024 tokens).
#include "costmodel/training.hpp"

#include <gtest/gtest.h>

#include <map>

#include "costmodel/blocks/attention_core.hpp"
#include "costmodel/prediction.hpp"
#include "tests/unit/costmodel/oracle_fixture.hpp"

namespace tw {
namespace {

using test::h100, test::megatron, test::small_model;

constexpr std::int64_t kS = 1024, kRank = 16;

Training lora(Math math = Math::bf16) {
  Training out;
  out.lora = Adapters{kRank, 0, math};
  return out;
}

LayerWork layer(const Model& model, const Profile& profile, const Training& training) {
  const EmitInput input{&model, &profile, {}, kS, {}, false, false, training};
  return emit_layer(input, model.kinds[0]);
}

std::map<std::string, std::vector<GemmShape>> gemms(const OpList& ops) {
  std::map<std::string, std::vector<GemmShape>> out;
  for (const Op& op : ops) {
    if (const auto* g = std::get_if<GemmShape>(&op.work)) out[std::string(op.name)].push_back(*g);
  }
  return out;
}

struct Elements {
  std::int64_t trained = 0, frozen = 0;
};
Elements elements(const LayerWork& work) {
  Elements out;
  for (const Weight& w : work.weights) (w.frozen ? out.frozen : out.trained) += w.elements;
  return out;
}

// A and B of qkv (three), attention_out, gate and up (two), down:
// r * (3*512 + 512+256+256 + 512+512 + 2*512 + 2*1024 + 1024+512) = r * 8192.
TEST(Adapters, AreTheOnlyTrainedWeights) {
  const Model model = small_model({});
  const Elements with = elements(layer(model, megatron(), lora()));
  const Elements without = elements(layer(model, megatron(), {}));
  EXPECT_EQ(with.trained, kRank * 8192);
  EXPECT_EQ(with.frozen, without.trained);
  EXPECT_EQ(without.frozen, 0);
}

TEST(Adapters, TheBaseHasNoWeightGradient) {
  const Model model = small_model({});
  const LayerWork work = layer(model, megatron(), lora());
  const auto backward = gemms(work.backward);
  for (const char* name : {"qkv", "attention_out", "mlp_up", "mlp_down"}) {
    ASSERT_EQ(backward.at(name).size(), 1u) << name;
    EXPECT_EQ(backward.at(name)[0].pass, GemmPass::dgrad) << name;
  }
  // Four linears (q, k and v are merged, as gate and up): dgrad and wgrad of each A and each B.
  EXPECT_EQ(backward.at("lora_a").size(), 8u);
  EXPECT_EQ(backward.at("lora_b").size(), 8u);
}

TEST(Adapters, ProductsHaveTheRank) {
  Profile profile = megatron();
  profile.kernels.merged_projections = false;
  const Model model = small_model({});
  const auto forward = gemms(layer(model, profile, lora()).forward);
  ASSERT_EQ(forward.at("lora_a").size(), 7u);  // q, k, v, out, gate, up, down
  ASSERT_EQ(forward.at("lora_b").size(), 7u);
  EXPECT_EQ(forward.at("lora_a")[0].n, kRank);
  EXPECT_EQ(forward.at("lora_a")[0].k, 512);
  EXPECT_EQ(forward.at("lora_b")[1].n, 256);  // k
  EXPECT_EQ(forward.at("lora_b")[1].k, kRank);
  EXPECT_EQ(forward.at("lora_a")[6].k, 1024);  // down
}

// fp32 adapters: input cast 2 + 4 bytes, output scaled 4 + 4, cast 4 + 2, added 2 + 2 + 2.
TEST(Adapters, InFp32CostCasts) {
  const Model model = small_model({});
  std::int64_t casts = 0, sums = 0;
  for (const Op& op : layer(model, megatron(), lora(Math::fp32)).forward) {
    const auto* bytes = std::get_if<Elementwise>(&op.work);
    if (op.name == "lora_cast") casts += bytes->bytes.count;
    if (op.name == "lora_add") sums += bytes->bytes.count;
    if (op.name == "lora_a") {
      EXPECT_EQ(op.math, Math::fp32);
    }
  }
  EXPECT_EQ(casts, kS * 6 * (3 * 512 + 512 + 2 * 512 + 1024));
  EXPECT_EQ(sums, kS * 20 * (1024 + 512 + 2048 + 512));
}

// ZeRO-3 over 8 ranks: the base is cut and gathered in bf16, and nothing of it is summed or updated.
TEST(Adapters, StatesAreOfAdaptersAlone) {
  test::Setup setup(small_model({}), h100(8), megatron(), 8, kS);
  const Layout layout = parse_layout("dp=8,zero=3,mb=1", 8);
  Evaluator whole = setup.evaluator();
  const StateCost all = *whole.chain(layout).state;
  setup.job.training = lora();
  Evaluator adapted = setup.evaluator();
  const Chain chain = adapted.chain(layout);
  const KindState& kind = chain.state->kinds[0];
  const std::int64_t trained = kRank * 8192;
  const std::int64_t frozen = chain.pass->kinds[0].weights.frozen_attention;
  EXPECT_EQ(frozen, elements(layer(setup.model, setup.profile, {})).trained);
  EXPECT_EQ(kind.parameters, 2 * (trained / 8) + 2 * (frozen / 8));
  EXPECT_EQ(kind.gradients, 2 * (trained / 8));
  EXPECT_EQ(kind.moments, 4 * (trained / 8));
  EXPECT_EQ(kind.gathered, 2 * (trained + frozen));
  EXPECT_LT(kind.reduce, all.kinds[0].reduce);
  EXPECT_GT(kind.gather, all.kinds[0].gather);  // adapters travel beside the base
}

// Four documents of 256 in 1024 tokens: 4 * 256 * 257 / 2 pairs.
TEST(Packing, AttentionStaysInsideDocuments) {
  EXPECT_DOUBLE_EQ(packed_pairs(1024, 256, 0), 4 * 256 * 257 / 2.0);
  EXPECT_DOUBLE_EQ(packed_pairs(1024, 0, 0), causal_pairs(1024, 0));
  EXPECT_DOUBLE_EQ(packed_pairs(1024, 4096, 0), causal_pairs(1024, 0));
  Training training;
  training.document = 256;
  const Model model = small_model({});
  double pairs = 0;
  for (const Op& op : layer(model, megatron(), training).forward) {
    if (const auto* a = std::get_if<AttentionShape>(&op.work)) pairs = a->pairs;
  }
  EXPECT_DOUBLE_EQ(pairs, 4 * 256 * 257 / 2.0);
}

TEST(Samples, RepeatedAndPaddedTokensAreNotUnique) {
  test::Setup setup(small_model({}), h100(8), megatron(), 8, kS);
  setup.job.training.repeats = 4;
  setup.job.training.valid = 0.75;
  Evaluator evaluator = setup.evaluator();
  const Prediction p = predict(evaluator, parse_layout("dp=8,mb=1", 8));
  EXPECT_DOUBLE_EQ(p.unique_tokens_per_s, p.tokens_per_s * 0.75 / 4);
}

// Ranks of ep that hold the same tokens: no dispatch, one all-reduce of [tokens, hidden] each way, and
// top_k * tokens / ep rows for the experts of each.
TEST(ReplicatedExperts, SumInPlaceOfDispatch) {
  Profile profile = megatron();
  profile.kernels.replicated_experts = true;
  const Model model = small_model({.experts = 8, .top_k = 2});
  PassKey key;
  key.ep = 4;
  const EmitInput input{&model, &profile, key, kS, {}};
  const LayerWork work = emit_layer(input, model.kinds[0]);
  int sums = 0;
  for (const OpList* list : {&work.forward, &work.backward}) {
    for (const Op& op : *list) {
      EXPECT_FALSE(std::holds_alternative<DispatchWork>(op.work));
      const auto* c = std::get_if<CollectiveWork>(&op.work);
      if (!c) continue;
      EXPECT_EQ(c->kind, Collective::all_reduce);
      EXPECT_EQ(c->bytes.count, kS * 512 * 2);
      ++sums;
    }
  }
  EXPECT_EQ(sums, 2);
  for (const Op& op : work.forward) {
    const auto* g = std::get_if<GroupedGemmShape>(&op.work);
    if (g) {
      EXPECT_DOUBLE_EQ(g->rows * 2, kS * 2 / 4.0);
    }
  }
}

// Without grouped kernels: one product per local expert, each of its own rows.
TEST(LoopOverExperts, IsOneProductAfterAnother) {
  Profile profile = megatron();
  profile.kernels.grouped_gemm = false;
  const Model model = small_model({.experts = 8, .top_k = 2});
  int products = 0;
  for (const Op& op : layer(model, profile, {}).forward) {
    EXPECT_FALSE(std::holds_alternative<GroupedGemmShape>(op.work));
    if (op.name != "expert_up") continue;
    EXPECT_EQ(std::get<GemmShape>(op.work).m, kS * 2 / 8);
    EXPECT_EQ(op.launches, 8);
    EXPECT_DOUBLE_EQ(op.share, 8);
    ++products;
  }
  EXPECT_EQ(products, 1);
}

}  // namespace
}  // namespace tw
