#include "costmodel/config_parts.hpp"

namespace tw::families {
namespace {

Model read_config(Config& config) {
  Model model = read_trunk(config);
  const Attention attention = read_grouped(config, model.hidden, {.kv_heads = 8});
  const std::int32_t layers = read_layer_count(config);
  const auto window = config.size_or_null("sliding_window", 4096);
  add_layers(model, layers,
             {.attention = attention,
              .window = window.value_or(0),
              .sliding = std::vector<bool>(static_cast<std::size_t>(layers), window.has_value()),
              .mlp = Mlp{.ffn = config.size("intermediate_size")}});
  return model;
}

}  // namespace

extern constinit const Family mistral;
constinit const Family mistral = {"mistral", 20, "Mistral 7B and kin: Llama with a sliding window",
                                  read_strictly<read_config>};

}  // namespace tw::families
