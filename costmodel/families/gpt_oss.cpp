#include "costmodel/config_parts.hpp"

namespace tw::families {
namespace {

Moe read_moe(Config& config) {
  const char* experts = config.has("num_local_experts") ? "num_local_experts" : "num_experts";
  Moe moe{.experts = config.size(experts),
          .top_k = config.size("num_experts_per_tok"),
          .ffn = config.size("intermediate_size"),
          .bias = true,
          .router_bias = true};
  config.repeated("num_experts", moe.experts, "num_local_experts");
  config.repeated("experts_per_token", moe.top_k, "num_experts_per_tok");
  check_top_k(config, moe);
  return moe;
}

Model read_config(Config& config) {
  Model model = read_trunk(config);
  Attention attention = read_grouped(config, model.hidden, {.kv_heads = 8, .head_dim = 64});
  attention.qkv_bias = attention.out_bias = config.flag("attention_bias", true);
  attention.sinks = true;
  const std::int32_t layers = read_layer_count(config);
  std::vector<bool> alternating;
  for (std::int32_t i = 0; i < layers; ++i) alternating.push_back(i % 2 == 0);
  add_layers(model, layers,
             {.attention = attention,
              .window = config.size_or_null("sliding_window", 128).value_or(0),
              .sliding = config.sliding_layers(layers).value_or(alternating),
              .moe = read_moe(config)});
  return model;
}

}  // namespace

extern constinit const Family gpt_oss;
constinit const Family gpt_oss = {"gpt_oss", 100,
                                  "gpt-oss-20b and 120b: sinks, alternating windows, biases in experts",
                                  read_strictly<read_config>};

}  // namespace tw::families
