#include "costmodel/config_parts.hpp"

namespace tw::families {
namespace {

Model read_config(Config& config) {
  Model model = read_trunk(config);
  model.norm = NormKind::layer;
  Attention attention;
  attention.heads = attention.kv_heads = config.size("num_attention_heads");
  attention.head_dim = attention.value_dim =
      divided(config, "num_attention_heads", model.hidden, attention.heads);
  attention.qkv_bias = attention.out_bias = config.flag("attention_bias", true);
  const Mlp mlp{.ffn = config.size("intermediate_size"), .gated = false, .bias = true};
  add_layers(model, read_layer_count(config), {.attention = attention, .mlp = mlp});
  return model;
}

}  // namespace

extern constinit const Family gpt_neox;
constinit const Family gpt_neox = {"gpt_neox", 130,
                                   "GPT-NeoX-20B and Pythia: rotary positions, plain MLP, biases",
                                   read_strictly<read_config>};

}  // namespace tw::families
