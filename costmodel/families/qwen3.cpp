#include "costmodel/config_parts.hpp"

namespace tw::families {
namespace {

Model read_config(Config& config) {
  Model model = read_trunk(config);
  Attention attention = read_grouped(config, model.hidden, {.kv_heads = 32, .head_dim = 128});
  attention.qkv_bias = attention.out_bias = config.flag("attention_bias", false);
  attention.qk_norm = QkNorm::head;
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
  return model;
}

}  // namespace

extern constinit const Family qwen3;
constinit const Family qwen3 = {"qwen3", 60, "Qwen3, dense: norms on q and k, head size of its own",
                                read_strictly<read_config>};

}  // namespace tw::families
