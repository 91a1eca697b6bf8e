#include "costmodel/config_parts.hpp"

namespace tw::families {
namespace {

constexpr std::int32_t kMaxMtpLayers = 64;

// Biases on q, k and v alone; the correction bias of the router is in the checkpoint.
Model read_config(Config& config) {
  Model model = read_trunk(config);
  Attention attention = read_grouped(config, model.hidden, {.kv_heads = 8, .head_dim = 128});
  attention.qkv_bias = config.flag("attention_bias", false);
  attention.qk_norm = config.flag("use_qk_norm", false) ? QkNorm::head : QkNorm::none;
  const std::int32_t layers = read_layer_count(config);
  Moe moe = read_deepseek_moe(config, true);
  moe.router_bias = true;
  model.mtp_layers = config.count("num_nextn_predict_layers", 0);
  if (model.mtp_layers > kMaxMtpLayers) config.fail("num_nextn_predict_layers", "must be at most 64");
  add_layers(model, layers,
             {.attention = attention,
              .mlp = Mlp{.ffn = config.size("intermediate_size")},
              .moe = moe,
              .sparse = read_deepseek_sparse_layers(config, layers, 1)});
  return model;
}

}  // namespace

extern constinit const Family glm4_moe;
constinit const Family glm4_moe = {
    "glm4_moe", 95, "GLM-4.5: grouped attention, shared and routed experts, first layers dense",
    read_strictly<read_config>};

}  // namespace tw::families
