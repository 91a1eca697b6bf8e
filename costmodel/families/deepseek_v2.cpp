#include "costmodel/config_parts.hpp"

namespace tw::families {
namespace {

Model read_config(Config& config) {
  Model model = read_trunk(config);
  const Attention attention = read_latent(config);
  const std::int32_t layers = read_layer_count(config);
  if (config.flag("mlp_bias", false)) config.fail("mlp_bias", "must be false: experts have no bias");
  const std::string routing = config.choice("topk_method", "greedy", {"greedy", "group_limited_greedy"});
  add_layers(model, layers,
             {.attention = attention,
              .mlp = Mlp{.ffn = config.size("intermediate_size")},
              .moe = read_deepseek_moe(config, routing == "group_limited_greedy"),
              .sparse = read_deepseek_sparse_layers(config, layers, 0)});
  return model;
}

}  // namespace

extern constinit const Family deepseek_v2;
constinit const Family deepseek_v2 = {
    "deepseek_v2", 80, "DeepSeek-V2 and V2-Lite: latent attention, shared experts, first layers dense",
    read_strictly<read_config>};

}  // namespace tw::families
