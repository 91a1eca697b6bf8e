#include "costmodel/config_parts.hpp"

namespace tw::families {
namespace {

Model read_config(Config& config) {
  Model model = read_trunk(config);
  const Attention attention = read_grouped(config, model.hidden, {.kv_heads = 8});
  const std::int32_t layers = read_layer_count(config);
  const auto window = config.size_or_null("sliding_window", std::nullopt);
  const Moe moe{.experts = config.size("num_local_experts"),
                .top_k = config.size("num_experts_per_tok"),
                .ffn = config.size("intermediate_size")};
  check_top_k(config, moe);
  add_layers(model, layers,
             {.attention = attention,
              .window = window.value_or(0),
              .sliding = std::vector<bool>(static_cast<std::size_t>(layers), window.has_value()),
              .moe = moe});
  return model;
}

}  // namespace

extern constinit const Family mixtral;
constinit const Family mixtral = {"mixtral", 30,
                                  "Mixtral 8x7B and 8x22B: every layer routes to 2 of 8 experts",
                                  read_strictly<read_config>};

}  // namespace tw::families
