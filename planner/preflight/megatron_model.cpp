#include <fmt/format.h>

#include <algorithm>

#include "planner/preflight/megatron_words.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw::preflight {
namespace {

constexpr std::int32_t kMostWidth = 1 << 24, kMostLayers = 4096;

std::int32_t size_of(const Launch& launch, std::string_view key, std::int32_t absent) {
  const std::int32_t value = whole(launch, key, absent);
  if (value != absent && (value < 1 || value > kMostWidth)) {
    throw InputError(launch.file, key, fmt::format("must be from 1 to {}, is {}", kMostWidth, value));
  }
  return value;
}

Attention attention_of(const Launch& launch, std::int32_t hidden) {
  const Settings& s = launch.settings;
  Attention a;
  a.heads = size_of(launch, "num_attention_heads", 0);
  const bool all_biased = setting(s, "add_bias_linear").value_or("true") != "false";
  a.qkv_bias = all_biased || is_on(s, "add_qkv_bias");
  a.out_bias = all_biased;
  a.sinks = setting(s, "softmax_type").value_or("vanilla") == "learnable";
  if (is_on(s, "multi_latent_attention")) {
    a.kind = AttentionKind::latent;
    a.kv_heads = a.heads;
    a.q_rank = whole(launch, "q_lora_rank", 0);
    a.kv_rank = size_of(launch, "kv_lora_rank", 32);
    a.rope_dim = size_of(launch, "qk_pos_emb_head_dim", 64);
    a.head_dim = size_of(launch, "qk_head_dim", 128) + a.rope_dim;
    a.value_dim = size_of(launch, "v_head_dim", 128);
    return a;
  }
  a.kv_heads = is_on(s, "group_query_attention") ? size_of(launch, "num_query_groups", 1) : a.heads;
  if (a.heads % a.kv_heads != 0) {
    throw InputError(launch.file, "num_query_groups",
                     fmt::format("must divide num_attention_heads {}, is {}", a.heads, a.kv_heads));
  }
  a.head_dim = a.value_dim = size_of(launch, "kv_channels", 0);
  if (a.head_dim == 0) {
    if (hidden % a.heads != 0)
      throw InputError(launch.file, "num_attention_heads",
                       fmt::format("must divide hidden_size {}, is {}", hidden, a.heads));
    a.head_dim = a.value_dim = hidden / a.heads;
  }
  if (is_on(s, "qk_layernorm")) a.qk_norm = QkNorm::head;
  return a;
}

bool gated(const Settings& s) {
  return is_on(s, "swiglu") || is_on(s, "quick_geglu");
}

Mlp mlp_of(const Launch& launch, std::int32_t hidden) {
  Mlp out;
  out.gated = gated(launch.settings);
  out.bias = setting(launch.settings, "add_bias_linear").value_or("true") != "false";
  // arguments.py: 4 hidden, or with SwiGLU 8/3 of it, down to a multiple of 64.
  const std::int32_t usual =
      out.gated ? static_cast<std::int32_t>(std::int64_t{hidden} * 8 / 3 / 64 * 64) : 4 * hidden;
  out.ffn = size_of(launch, "ffn_hidden_size", usual);
  return out;
}

Moe moe_of(const Launch& launch, const Mlp& mlp) {
  const Settings& s = launch.settings;
  Moe out;
  out.experts = size_of(launch, "num_experts", 1);
  out.top_k = size_of(launch, "moe_router_topk", 2);
  out.ffn = size_of(launch, "moe_ffn_hidden_size", mlp.ffn);
  out.gated = mlp.gated, out.bias = mlp.bias;
  out.router_bias = is_on(s, "moe_router_enable_expert_bias");
  out.shared_ffn = whole(launch, "moe_shared_expert_intermediate_size", 0);
  out.shared_gate = is_on(s, "moe_shared_expert_gate");
  out.groups = size_of(launch, "moe_router_num_groups", 1);
  out.group_limit = size_of(launch, "moe_router_group_topk", 1);
  if (out.top_k > out.experts)
    throw InputError(launch.file, "moe_router_topk",
                     fmt::format("must be at most the {} experts, is {}", out.experts, out.top_k));
  return out;
}

std::vector<int> sparse_layers(const Launch& launch, std::int32_t layers) {
  if (whole(launch, "num_experts", 0) < 1) return std::vector<int>(static_cast<std::size_t>(layers), 0);
  return layer_pattern(setting(launch.settings, "moe_layer_freq").value_or("1"), layers, launch.file);
}

// "128,0" or "(128, 0)": the window to the left.
std::int32_t window_of(const Launch& launch) {
  auto text = setting(launch.settings, "window_size");
  if (!text || *text == "None" || *text == "none") return 0;
  std::erase_if(*text, [](char c) { return c == '(' || c == ')' || c == '[' || c == ']' || c == ' '; });
  const std::int64_t left = whole_of(launch.file, "window_size", text->substr(0, text->find(',')));
  if (left < 0 || left > kMostWidth) throw InputError(launch.file, "window_size", "is out of range");
  return static_cast<std::int32_t>(left);
}

// N: one layer of full attention behind N - 1 with a window.
std::vector<int> sliding_layers(const Launch& launch, std::int32_t layers) {
  const auto text = setting(launch.settings, "window_attn_skip_freq");
  if (!text) return std::vector<int>(static_cast<std::size_t>(layers), 1);
  if (text->find('[') != std::string::npos) return layer_pattern(*text, layers, launch.file);
  const std::int64_t every = whole_of(launch.file, "window_attn_skip_freq", *text);
  if (every < 1) throw InputError(launch.file, "window_attn_skip_freq", "must be 1 or more");
  std::vector<int> out;
  for (std::int32_t i = 0; i < layers; ++i) out.push_back((i + 1) % every == 0 ? 0 : 1);
  return out;
}

void add_layers(const Launch& launch, Model& model, std::int32_t layers) {
  const Attention attention = attention_of(launch, model.hidden);
  const Mlp mlp = mlp_of(launch, model.hidden);
  const std::vector<int> sparse = sparse_layers(launch, layers), sliding = sliding_layers(launch, layers);
  const std::int32_t window = window_of(launch);
  for (std::size_t i = 0; i < sparse.size(); ++i) {
    LayerKind kind{attention, {}, {}};
    kind.attention.window = sliding[i] != 0 ? window : 0;
    if (sparse[i] != 0)
      kind.moe = moe_of(launch, mlp);
    else
      kind.mlp = mlp;
    add_layer(model, kind);
  }
}

// The vocabulary of tokenizers that bring their own, by a part of their name.
struct KnownVocabulary {
  std::string_view name;
  std::int32_t size;
};
constexpr KnownVocabulary kVocabularies[] = {
    {"GPT2BPETokenizer", 50257}, {"Llama2Tokenizer", 32000}, {"Llama-2", 32000}, {"Llama-3", 128256},
    {"Mixtral", 32000},          {"Mistral", 32000},         {"Qwen", 151936},   {"DeepSeek-V3", 129280},
    {"DeepSeek-V2", 102400},     {"gpt-oss", 201088}};

std::int32_t vocabulary_of(Launch& launch) {
  for (const char* key : {"padded_vocab_size", "vocab_size"}) {
    if (const std::int32_t value = size_of(launch, key, 0); value > 0) return value;
  }
  for (const char* key : {"tokenizer_model", "tokenizer_type"}) {
    const auto text = setting(launch.settings, key);
    if (!text) continue;
    for (const KnownVocabulary& each : kVocabularies) {
      if (text->find(each.name) != std::string::npos) return each.size;
    }
  }
  return 0;
}

bool same_but_name(Model a, const Model& b) {
  a.name = b.name, a.family = b.family;
  return a == b;
}

// A model of scenarios/models that is the same, for its name.
void give_name(Model& model) {
  for (const std::string& name : scenario_names("models")) {
    const Model known = load_model(name);
    if (!same_but_name(model, known)) continue;
    model.name = known.name, model.family = known.family;
    return;
  }
}

// One that has this shape, for the vocabulary that the file leaves to its tokenizer.
std::int32_t vocabulary_of_shape(const Model& model) {
  for (const std::string& name : scenario_names("models")) {
    Model known = load_model(name);
    Model like = model;
    like.vocab = known.vocab;
    if (same_but_name(like, known)) return known.vocab;
  }
  return 0;
}

std::string missing_sizes(const Launch& launch) {
  std::string out;
  for (const char* key : {"num_layers", "hidden_size", "num_attention_heads"}) {
    if (!setting(launch.settings, key)) out += (out.empty() ? "" : ", ") + std::string(key);
  }
  return out;
}

void settle_vocabulary(Launch& launch, Model& model) {
  model.vocab = vocabulary_of(launch);
  if (model.vocab > 0) return;
  model.vocab = vocabulary_of_shape(model);
  if (model.vocab > 0) return;
  constexpr std::int32_t kUsual = 128256;
  model.vocab = kUsual;
  launch.add(Severity::warn, "cost",
             fmt::format("the vocabulary is the tokenizer's and not stated; {} is assumed (--model, or a "
                         "vocabulary size, says it)",
                         kUsual));
}

}  // namespace

void understand_model(Launch& launch, const Model* beside) {
  if (beside != nullptr) {
    for (auto& [key, value] : model_settings(*beside)) launch.settings.try_emplace(key, value);
  }
  if (const auto layers = setting(launch.settings, "encoder_num_layers"))
    launch.settings.try_emplace("num_layers", *layers);
  const std::string missing = missing_sizes(launch);
  if (!missing.empty()) {
    launch.why_no_model = "the file does not say " + missing + "; give --model";
    return;
  }
  Model model;
  model.name = "of the launch file";
  model.hidden = size_of(launch, "hidden_size", 0);
  const std::int32_t layers = whole(launch, "num_layers", 0);
  if (layers < 1 || layers > kMostLayers)
    throw InputError(launch.file, "num_layers",
                     fmt::format("must be from 1 to {}, is {}", kMostLayers, layers));
  const Settings& s = launch.settings;
  model.norm =
      setting(s, "normalization").value_or("LayerNorm") == "RMSNorm" ? NormKind::rms : NormKind::layer;
  const std::string positions = is_on(s, "use_rotary_position_embeddings")
                                    ? "rope"
                                    : setting(s, "position_embedding_type").value_or("learned_absolute");
  model.positions = positions == "none"               ? Positions::none
                    : positions == "learned_absolute" ? Positions::learned
                                                      : Positions::rotary;
  if (model.positions == Positions::learned)
    model.max_positions = size_of(launch, "max_position_embeddings", 1);
  model.tied_embeddings = !is_on(s, "untie_embeddings_and_output_weights");
  model.mtp_layers = whole(launch, "mtp_num_layers", 0);
  add_layers(launch, model, layers);
  settle_vocabulary(launch, model);
  give_name(model);
  launch.model = std::move(model);
}

}  // namespace tw::preflight
