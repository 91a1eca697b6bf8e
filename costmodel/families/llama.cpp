#include "costmodel/config_parts.hpp"

namespace tw::families {
namespace {

Model read_config(Config& config) {
  Model model = read_trunk(config);
  Attention attention = read_grouped(config, model.hidden);
  attention.qkv_bias = attention.out_bias = config.flag("attention_bias", false);
  const Mlp mlp{.ffn = config.size("intermediate_size"), .bias = config.flag("mlp_bias", false)};
  add_layers(model, read_layer_count(config), {.attention = attention, .mlp = mlp});
  return model;
}

}  // namespace

extern constinit const Family llama;
constinit const Family llama = {"llama", 10, "Llama 1 to 3: grouped-query attention, gated MLP",
                                read_strictly<read_config>};

}  // namespace tw::families
