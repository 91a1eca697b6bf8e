#include "costmodel/config_parts.hpp"

namespace tw::families {
namespace {

Moe read_moe(Config& config) {
  const char* experts = config.has("num_local_experts") ? "num_local_experts" : "num_experts";
  Moe moe{.experts = config.size(experts),
          .top_k = config.size("num_experts_per_tok"),
          .ffn = config.size("moe_intermediate_size")};
  config.repeated("num_experts", moe.experts, "num_local_experts");
  check_top_k(config, moe);
  return moe;
}

Model read_config(Config& config) {
  Model model = read_trunk(config);
  Attention attention = read_grouped(config, model.hidden, {.kv_heads = 4});
  attention.qkv_bias = attention.out_bias = config.flag("attention_bias", false);
  attention.qk_norm = QkNorm::head;
  const std::int32_t layers = read_layer_count(config);
  const std::int32_t window = read_optional_window(config);
  config.count("max_window_layers", 28);  // without effect: the window is of all layers or none
  add_layers(model, layers,
             {.attention = attention,
              .window = window,
              .sliding = std::vector<bool>(static_cast<std::size_t>(layers), window > 0),
              .mlp = Mlp{.ffn = config.size("intermediate_size")},
              .moe = read_moe(config),
              .sparse = read_sparse_layers(config, layers)});
  return model;
}

}  // namespace

extern constinit const Family qwen3_moe;
constinit const Family qwen3_moe = {"qwen3_moe", 70,
                                    "Qwen3-30B-A3B and 235B-A22B: 8 of 128 experts, none shared",
                                    read_strictly<read_config>};

}  // namespace tw::families
