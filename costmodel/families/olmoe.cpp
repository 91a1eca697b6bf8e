#include "costmodel/config_parts.hpp"

namespace tw::families {
namespace {

Model read_config(Config& config) {
  Model model = read_trunk(config);
  Attention attention = read_grouped(config, model.hidden);
  attention.qkv_bias = attention.out_bias = config.flag("attention_bias", false);
  attention.qk_norm = QkNorm::full;
  const Moe moe{.experts = config.size("num_experts"),
                .top_k = config.size("num_experts_per_tok"),
                .ffn = config.size("intermediate_size")};
  check_top_k(config, moe);
  add_layers(model, read_layer_count(config), {.attention = attention, .moe = moe});
  return model;
}

}  // namespace

extern constinit const Family olmoe;
constinit const Family olmoe = {"olmoe", 110, "OLMoE-1B-7B: 8 of 64 experts, norms over all of q and k",
                                read_strictly<read_config>};

}  // namespace tw::families
