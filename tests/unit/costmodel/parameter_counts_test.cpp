// Counts written from the model description alone, apart from the blocks, against published totals.
#include <gtest/gtest.h>

#include <cstdlib>

#include "costmodel/model.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

using Count = std::int64_t;

Count grouped_weights(const Model& model, const Attention& a) {
  const Count h = model.hidden, q = Count{a.heads} * a.head_dim, kv = Count{a.kv_heads} * a.head_dim;
  Count count = h * q + 2 * h * kv + q * h;
  if (a.qkv_bias) count += q + 2 * kv;
  if (a.out_bias) count += h;
  if (a.qk_norm == QkNorm::head) count += 2 * a.head_dim;
  if (a.qk_norm == QkNorm::full) count += q + kv;
  return count + (a.sinks ? a.heads : 0);
}

// arXiv 2405.04434, section 2.1: down to the ranks (each with a norm), up to heads, out.
Count latent_weights(const Model& model, const Attention& a) {
  const Count h = model.hidden, q = Count{a.heads} * a.head_dim;
  const Count query = a.q_rank > 0 ? h * a.q_rank + a.q_rank + a.q_rank * q : h * q;
  const Count down = h * (a.kv_rank + a.rope_dim) + a.kv_rank;
  const Count up = Count{a.kv_rank} * a.heads * (a.head_dim - a.rope_dim + a.value_dim);
  return query + down + up + Count{a.heads} * a.value_dim * h;
}

Count mlp_weights(Count hidden, Count ffn, bool gated, bool bias) {
  const Count up = gated ? 2 : 1;
  return (up + 1) * hidden * ffn + (bias ? up * ffn + hidden : 0);
}

// arXiv 2405.21060, section 7: projections to z, x, B, C, dt and back, convolution, three numbers a head,
// norm.
Count mamba_weights(const Model& model, const Mamba& m) {
  const Count h = model.hidden, inner = Count{m.heads} * m.head_dim, shared = Count{m.groups} * m.state;
  return h * (2 * inner + 2 * shared + m.heads) + (inner + 2 * shared) * (m.conv + 1) + 3 * m.heads + inner +
         inner * h;
}

// `met`: only what one token meets.
Count layer_weights(const Model& model, const LayerKind& kind, bool met) {
  const Count h = model.hidden;
  const bool alone = kind.attention.kind == AttentionKind::none || (!kind.mlp && !kind.moe);
  Count count = (alone ? 1 : 2) * h * (model.norm == NormKind::layer ? 2 : 1);
  if (kind.attention.kind == AttentionKind::latent) count += latent_weights(model, kind.attention);
  if (kind.attention.kind == AttentionKind::grouped) count += grouped_weights(model, kind.attention);
  if (kind.mamba) count += mamba_weights(model, *kind.mamba);
  if (kind.mlp) count += mlp_weights(h, kind.mlp->ffn, kind.mlp->gated, kind.mlp->bias);
  if (!kind.moe) return count;
  const Moe& moe = *kind.moe;
  count += h * moe.experts + (moe.router_bias ? moe.experts : 0);
  count += (met ? moe.top_k : moe.experts) * mlp_weights(h, moe.ffn, moe.gated, moe.bias);
  return count + mlp_weights(h, moe.shared_ffn, moe.gated, false) + (moe.shared_gate ? h : 0);
}

Count all_weights(const Model& model, bool met) {
  const Count h = model.hidden;
  Count count = h * model.vocab * (model.tied_embeddings ? 1 : 2) + h * model.max_positions;
  count += h * (model.norm == NormKind::layer ? 2 : 1);
  for (std::int32_t i = 0; i < model.layers(); ++i) count += layer_weights(model, model.layer(i), met);
  return count;
}

// DeepSeek-V3, README_WEIGHTS.md: a layer like the last, eh_proj from 2h to h, norms enorm, hnorm and
// that of the head; embedding and head are shared.
Count mtp_weights(const Model& model) {
  const Count h = model.hidden;
  return model.mtp_layers *
         (layer_weights(model, model.layer(model.layers() - 1), false) + 2 * h * h + 3 * h);
}

JsonView published() {
  return load_json(scenarios_folder() + "/parameter_counts/published.json").at("models");
}

TEST(ParameterCounts, TotalsEqualThePublishedOnes) {
  const JsonView rows = published();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::string name = rows[i].at("model").string();
    const Count count = all_weights(load_model(name), false), printed = rows[i].at("parameters").integer();
    if (rows[i].at("exact").boolean()) {
      EXPECT_EQ(count, printed) << name;
    } else {
      EXPECT_LE(std::abs(count - printed), rows[i].at("last_digit").integer()) << name << " counts " << count;
    }
    EXPECT_FALSE(rows[i].at("source").string().empty()) << name;
  }
}

TEST(ParameterCounts, ActiveParametersAgreeToTheLastPrintedDigit) {
  const JsonView rows = published();
  int seen = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto active = rows[i].find("active");
    if (!active) continue;
    const Model model = load_model(rows[i].at("model").string());
    Count count = all_weights(model, true);
    if (!active->at("counts_embedding").boolean()) count -= Count{model.hidden} * model.vocab;
    EXPECT_LT(std::abs(count - active->at("parameters").integer()), active->at("last_digit").integer())
        << model.name << " counts " << count;
    ++seen;
  }
  EXPECT_EQ(seen, 13);  // every MoE model shipped
}

TEST(ParameterCounts, EveryShippedModelHasAPublishedCount) {
  const JsonView rows = published();
  std::vector<std::string> names;
  for (std::size_t i = 0; i < rows.size(); ++i) names.push_back(rows[i].at("model").string());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, scenario_names("models"));
}

TEST(ParameterCounts, MultiTokenPredictionOfDeepSeekV3) {
  const JsonView rows = published();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto mtp = rows[i].find("mtp");
    const Count count = mtp_weights(load_model(rows[i].at("model").string()));
    EXPECT_EQ(count, mtp ? mtp->at("parameters").integer() : 0) << rows[i].at("model").string();
  }
}

struct Further {
  const char* name;
  const char* config;
  Count parameters;
};

// Families that no shipped model covers, and older models: totals of the safetensors metadata of the
// repositories named.
constexpr Further kFurther[] = {
    {"openai-community/gpt2, without the attention masks stored beside the weights",
     R"({"model_type":"gpt2","n_embd":768,"n_layer":12,"n_head":12,"n_positions":1024,"n_ctx":1024,
         "vocab_size":50257})",
     124'439'808},
    {"mistralai/Mistral-7B-v0.1",
     R"({"model_type":"mistral","hidden_size":4096,"intermediate_size":14336,"num_attention_heads":32,
         "num_hidden_layers":32,"num_key_value_heads":8,"sliding_window":4096,"vocab_size":32000})",
     7'241'732'096},
    {"Qwen/Qwen2.5-7B",
     R"({"model_type":"qwen2","hidden_size":3584,"intermediate_size":18944,"num_attention_heads":28,
         "num_hidden_layers":28,"num_key_value_heads":4,"tie_word_embeddings":false,"vocab_size":152064})",
     7'615'616'512},
    {"Qwen/Qwen3-8B",
     R"({"model_type":"qwen3","hidden_size":4096,"intermediate_size":12288,"num_attention_heads":32,
         "num_hidden_layers":36,"num_key_value_heads":8,"tie_word_embeddings":false,"vocab_size":151936})",
     8'190'735'360},
    {"EleutherAI/gpt-neox-20b, model card: 20554567680 parameters",
     R"({"model_type":"gpt_neox","hidden_size":6144,"intermediate_size":24576,"num_attention_heads":64,
         "num_hidden_layers":44,"rotary_pct":0.25,"use_parallel_residual":true,"vocab_size":50432})",
     20'554'567'680},
    {"EleutherAI/pythia-12b, model card: 11846072320 parameters",
     R"({"model_type":"gpt_neox","hidden_size":5120,"intermediate_size":20480,"num_attention_heads":40,
         "num_hidden_layers":36,"rotary_pct":0.25,"use_parallel_residual":true,"vocab_size":50688})",
     11'846'072'320},
    {"deepseek-ai/DeepSeek-V2",
     R"({"model_type":"deepseek_v2","first_k_dense_replace":1,"hidden_size":5120,"intermediate_size":12288,
         "kv_lora_rank":512,"moe_intermediate_size":1536,"n_group":8,"n_routed_experts":160,
         "n_shared_experts":2,"num_attention_heads":128,"num_experts_per_tok":6,"num_hidden_layers":60,
         "q_lora_rank":1536,"qk_nope_head_dim":128,"qk_rope_head_dim":64,"topk_group":3,
         "topk_method":"group_limited_greedy","v_head_dim":128,"vocab_size":102400})",
     235'741'434'880},
};

TEST(ParameterCounts, FurtherPublishedModels) {
  for (const Further& row : kFurther) {
    EXPECT_EQ(all_weights(read_model(parse_json(row.config, row.name), row.name), false), row.parameters)
        << row.name;
  }
}

}  // namespace
}  // namespace tw
