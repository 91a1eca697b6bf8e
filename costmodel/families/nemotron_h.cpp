// Nemotron-H and Nemotron 3 (arXiv 2504.03624): every layer is a Mamba-2 mixer (M), an attention (*),
// a dense (-) or a routed (E) feed-forward alone, in the order of hybrid_override_pattern. Attention has
// no positions; feed-forwards are squared ReLU without a gate.
#include "costmodel/config_parts.hpp"

namespace tw::families {
namespace {

constexpr std::string_view kLetters = "M*-E";
constexpr std::int64_t kMaxWidth = 1 << 24;
constexpr std::int32_t kMaxTaps = 1024;

Mamba read_mamba(Config& config) {
  Mamba mamba;
  mamba.heads = config.size("mamba_num_heads");
  mamba.head_dim = config.size("mamba_head_dim");
  mamba.groups = config.size("n_groups", 8);
  mamba.state = config.size("ssm_state_size");
  mamba.conv = config.size("conv_kernel", 4);
  mamba.conv_bias = config.flag("use_conv_bias", true);
  mamba.chunk = config.size("chunk_size", 128);
  divided(config, "n_groups", mamba.heads, mamba.groups);
  if (mamba.inner() > kMaxWidth) config.fail("mamba_num_heads", "heads times head size must be at most 2^24");
  if (mamba.shared() > kMaxWidth)
    config.fail("ssm_state_size", "groups times state size must be at most 2^24");
  if (mamba.conv > kMaxTaps) config.fail("conv_kernel", "must be at most 1024");
  config.size("expand", 2);  // without effect: heads and head_dim are there
  for (const char* key : {"use_bias", "mamba_proj_bias", "residual_in_fp32"}) {
    if (config.flag(key, false)) config.fail(key, "must be false");
  }
  return mamba;
}

Moe read_moe(Config& config) {
  Moe moe;
  moe.experts = config.size("n_routed_experts");
  moe.top_k = config.size("num_experts_per_tok");
  moe.ffn = config.size("moe_intermediate_size");
  moe.gated = false, moe.router_bias = true;  // e_score_correction_bias, in the checkpoint
  if (config.count("n_shared_experts", 0) > 0)
    moe.shared_ffn = config.size("moe_shared_expert_intermediate_size");
  moe.groups = config.size("n_group", 1), moe.group_limit = config.size("topk_group", 1);
  check_top_k(config, moe);
  return moe;
}

Model read_config(Config& config) {
  Model model = read_trunk(config);
  model.positions = Positions::none;
  const std::int32_t layers = read_layer_count(config);
  const std::string pattern = config.pattern("hybrid_override_pattern", kLetters, layers);
  LayerKind none, mixer, attention, dense, routed;
  none.attention.kind = AttentionKind::none;
  mixer = dense = routed = none;
  mixer.mamba = read_mamba(config);
  attention.attention = read_grouped(config, model.hidden, {.head_dim = 128});
  attention.attention.qkv_bias = attention.attention.out_bias = config.flag("attention_bias", false);
  dense.mlp =
      Mlp{.ffn = config.size("intermediate_size"), .gated = false, .bias = config.flag("mlp_bias", false)};
  if (config.has("n_routed_experts") || pattern.find('E') != std::string::npos) routed.moe = read_moe(config);
  for (const char letter : pattern)
    add_layer(model, letter == 'M' ? mixer : letter == '*' ? attention : letter == '-' ? dense : routed);
  return model;
}

}  // namespace

extern constinit const Family nemotron_h;
constinit const Family nemotron_h = {
    "nemotron_h", 98, "Nemotron-H and Nemotron 3: Mamba-2, attention and feed-forward layers by pattern",
    read_strictly<read_config>};

}  // namespace tw::families
