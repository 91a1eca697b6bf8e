#include "costmodel/config_parts.hpp"

namespace tw::families {
namespace {

constexpr std::int32_t kMaxMtpLayers = 64;

Model read_config(Config& config) {
  Model model = read_trunk(config);
  const Attention attention = read_latent(config);
  const std::int32_t layers = read_layer_count(config);
  config.choice("topk_method", "noaux_tc", {"noaux_tc"});
  Moe moe = read_deepseek_moe(config, true);
  moe.router_bias = true;  // e_score_correction_bias, in the checkpoint
  model.mtp_layers = config.count("num_nextn_predict_layers", 0);
  if (model.mtp_layers > kMaxMtpLayers) config.fail("num_nextn_predict_layers", "must be at most 64");
  add_layers(model, layers,
             {.attention = attention,
              .mlp = Mlp{.ffn = config.size("intermediate_size")},
              .moe = moe,
              .sparse = read_deepseek_sparse_layers(config, layers, 3)});
  return model;
}

}  // namespace

extern constinit const Family deepseek_v3;
constinit const Family deepseek_v3 = {
    "deepseek_v3", 90,
    "DeepSeek-V3 and R1: V2 with node-limited routing by groups and multi-token prediction",
    read_strictly<read_config>};

}  // namespace tw::families
