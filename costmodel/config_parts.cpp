#include "costmodel/config_parts.hpp"

#include <fmt/format.h>

namespace tw {
namespace {

constexpr std::int32_t kMaxLayers = 4096;
constexpr std::int64_t kMaxProjection = 1 << 24;  // heads * head_dim

void check_heads(const Config& config, const Attention& attention) {
  if (attention.heads % attention.kv_heads != 0) {
    config.fail("num_key_value_heads", fmt::format("must divide num_attention_heads {}, is {}",
                                                   attention.heads, attention.kv_heads));
  }
  const std::int64_t width = static_cast<std::int64_t>(attention.heads) * attention.head_dim;
  if (width > kMaxProjection) {
    config.fail("num_attention_heads",
                fmt::format("heads times head size is {}; at most {} is understood", width, kMaxProjection));
  }
}

}  // namespace

Model read_trunk(Config& config, bool tied_when_absent) {
  Model model;
  model.hidden = config.size("hidden_size");
  model.vocab = config.size("vocab_size");
  model.tied_embeddings = config.flag("tie_word_embeddings", tied_when_absent);
  return model;
}

std::int32_t read_layer_count(Config& config) {
  const std::int32_t layers = config.size("num_hidden_layers");
  if (layers > kMaxLayers) {
    config.fail("num_hidden_layers", fmt::format("must be at most {}, is {}", kMaxLayers, layers));
  }
  return layers;
}

std::int32_t divided(const Config& config, std::string_view key, std::int32_t whole, std::int32_t parts) {
  if (whole % parts != 0) config.fail(key, fmt::format("must divide the width {}, is {}", whole, parts));
  return whole / parts;
}

Attention read_grouped(Config& config, std::int32_t hidden, const GroupedDefaults& defaults) {
  Attention attention;
  attention.heads = config.size("num_attention_heads");
  attention.kv_heads =
      config.size_or_null("num_key_value_heads", defaults.kv_heads).value_or(attention.heads);
  const auto head_dim = config.size_or_null("head_dim", defaults.head_dim);
  attention.head_dim = head_dim ? *head_dim : divided(config, "num_attention_heads", hidden, attention.heads);
  attention.value_dim = attention.head_dim;
  check_heads(config, attention);
  return attention;
}

Attention read_latent(Config& config) {
  Attention attention;
  attention.kind = AttentionKind::latent;
  attention.heads = attention.kv_heads = config.size("num_attention_heads");
  config.repeated("num_key_value_heads", attention.heads,
                  "num_attention_heads: latent attention has no groups");
  attention.rope_dim = config.size("qk_rope_head_dim");
  attention.head_dim = config.size("qk_nope_head_dim") + attention.rope_dim;
  attention.value_dim = config.size("v_head_dim");
  attention.kv_rank = config.size("kv_lora_rank");
  attention.q_rank = config.size_or_null("q_lora_rank", 1536).value_or(0);
  config.repeated("head_dim", attention.rope_dim, "qk_rope_head_dim");
  config.repeated("qk_head_dim", attention.head_dim, "qk_nope_head_dim + qk_rope_head_dim");
  if (config.flag("attention_bias", false))
    config.fail("attention_bias", "must be false with latent attention");
  check_heads(config, attention);
  return attention;
}

void add_layers(Model& model, std::int32_t layers, const Stack& stack) {
  for (std::size_t i = 0; i < static_cast<std::size_t>(layers); ++i) {
    LayerKind kind{stack.attention, {}, {}};
    const bool slides = !stack.sliding.empty() && stack.sliding[i];
    kind.attention.window = slides ? stack.window : 0;
    const bool sparse = stack.moe && (stack.sparse.empty() || stack.sparse[i]);
    if (sparse) {
      kind.moe = stack.moe;
    } else {
      kind.mlp = stack.mlp;
    }
    add_layer(model, kind);
  }
}

std::int32_t read_optional_window(Config& config) {
  const auto window = config.size_or_null("sliding_window", 4096);
  return config.flag("use_sliding_window", false) ? window.value_or(0) : 0;
}

void add_qwen_dense_layers(Model& model, Config& config, const Attention& attention) {
  const std::int32_t layers = read_layer_count(config);
  const std::int32_t window = read_optional_window(config);
  const std::int32_t full = config.count("max_window_layers", 28);
  std::vector<bool> sliding;
  for (std::int32_t i = 0; i < layers; ++i) sliding.push_back(window > 0 && i >= full);
  add_layers(model, layers,
             {.attention = attention,
              .window = window,
              .sliding = config.sliding_layers(layers).value_or(sliding),
              .mlp = Mlp{.ffn = config.size("intermediate_size")}});
}

std::vector<bool> read_sparse_layers(Config& config, std::int32_t layers) {
  const std::int32_t step = config.size("decoder_sparse_step", 1);
  std::vector<bool> sparse;
  for (std::int32_t i = 0; i < layers; ++i) sparse.push_back((i + 1) % step == 0);
  for (const std::int32_t dense : config.indices("mlp_only_layers", layers)) {
    sparse[static_cast<std::size_t>(dense)] = false;
  }
  return sparse;
}

void check_top_k(const Config& config, const Moe& moe) {
  const std::int32_t reachable = moe.experts / moe.groups * moe.group_limit;
  if (moe.top_k > reachable) {
    config.fail("num_experts_per_tok",
                fmt::format("must be at most the {} experts a token may reach, is {}", reachable, moe.top_k));
  }
}

namespace {

// Null is Hugging Face's "no shared expert"; a key left out is more likely a slip.
std::int32_t read_shared_width(Config& config, std::int32_t ffn) {
  if (!config.has("n_shared_experts")) config.fail("n_shared_experts", "missing key: null if there are none");
  const std::int64_t width = static_cast<std::int64_t>(config.count("n_shared_experts", 0)) * ffn;
  if (width > kMaxProjection) config.fail("n_shared_experts", "shared experts together are too wide");
  return static_cast<std::int32_t>(width);
}

void check_groups(const Config& config, const Moe& moe) {
  if (moe.experts % moe.groups != 0) {
    config.fail("n_group", fmt::format("must divide n_routed_experts {}, is {}", moe.experts, moe.groups));
  }
  if (moe.group_limit > moe.groups) {
    config.fail("topk_group", fmt::format("must be at most n_group {}, is {}", moe.groups, moe.group_limit));
  }
}

}  // namespace

Moe read_deepseek_moe(Config& config, bool grouped_routing) {
  Moe moe;
  moe.experts = config.size("n_routed_experts");
  moe.top_k = config.size("num_experts_per_tok");
  moe.ffn = config.size("moe_intermediate_size");
  moe.shared_ffn = read_shared_width(config, moe.ffn);
  if (grouped_routing) {
    moe.groups = config.size("n_group");
    moe.group_limit = config.size("topk_group");
    check_groups(config, moe);
  } else {
    config.size("n_group", 1);  // without effect, as topk_group
    config.size("topk_group", 1);
  }
  check_top_k(config, moe);
  return moe;
}

std::vector<bool> read_deepseek_sparse_layers(Config& config, std::int32_t layers,
                                              std::int32_t dense_when_absent) {
  const std::int32_t first = config.count("first_k_dense_replace", dense_when_absent);
  const std::int32_t every = config.size("moe_layer_freq", 1);
  if (first > layers) {
    config.fail("first_k_dense_replace", fmt::format("must be at most the {} layers, is {}", layers, first));
  }
  std::vector<bool> sparse;
  for (std::int32_t i = 0; i < layers; ++i) sparse.push_back(i >= first && i % every == 0);
  return sparse;
}

}  // namespace tw
