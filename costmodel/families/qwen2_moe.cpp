#include "costmodel/config_parts.hpp"

namespace tw::families {
namespace {

Moe read_moe(Config& config) {
  Moe moe{.experts = config.size("num_experts"),
          .top_k = config.size("num_experts_per_tok"),
          .ffn = config.size("moe_intermediate_size"),
          .shared_ffn = config.size("shared_expert_intermediate_size")};
  moe.shared_gate = true;
  check_top_k(config, moe);
  return moe;
}

Model read_config(Config& config) {
  Model model = read_trunk(config);
  Attention attention = read_grouped(config, model.hidden, {.kv_heads = 16});
  attention.qkv_bias = config.flag("qkv_bias", true);
  const std::int32_t layers = read_layer_count(config);
  const std::int32_t window = read_optional_window(config);
  const std::int32_t windowed = config.count("max_window_layers", 28);
  std::vector<bool> sliding;  // every other of the first max_window_layers
  for (std::int32_t i = 0; i < layers; ++i) sliding.push_back(window > 0 && i % 2 == 0 && i < windowed);
  add_layers(model, layers,
             {.attention = attention,
              .window = window,
              .sliding = config.sliding_layers(layers).value_or(sliding),
              .mlp = Mlp{.ffn = config.size("intermediate_size")},
              .moe = read_moe(config),
              .sparse = read_sparse_layers(config, layers)});
  return model;
}

}  // namespace

extern constinit const Family qwen2_moe;
constinit const Family qwen2_moe = {
    "qwen2_moe", 50, "Qwen1.5-MoE and Qwen2-57B-A14B: routed experts beside a gated shared expert",
    read_strictly<read_config>};

}  // namespace tw::families
