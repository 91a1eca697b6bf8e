#include "costmodel/config_parts.hpp"

namespace tw::families {
namespace {

constexpr std::int32_t kMaxLayers = 4096;

Model read_config(Config& config) {
  Model model;
  model.hidden = config.size("n_embd");
  model.vocab = config.size("vocab_size");
  model.tied_embeddings = config.flag("tie_word_embeddings", true);
  model.norm = NormKind::layer;
  model.positions = Positions::learned;
  model.max_positions = config.size("n_positions");
  Attention attention;
  attention.heads = attention.kv_heads = config.size("n_head");
  attention.head_dim = attention.value_dim = divided(config, "n_head", model.hidden, attention.heads);
  attention.qkv_bias = attention.out_bias = true;
  const std::int32_t layers = config.size("n_layer");
  if (layers > kMaxLayers) config.fail("n_layer", "must be at most 4096");
  const Mlp mlp{.ffn = config.size("n_inner", 4 * model.hidden), .gated = false, .bias = true};
  add_layers(model, layers, {.attention = attention, .mlp = mlp});
  return model;
}

}  // namespace

extern constinit const Family gpt2;
constinit const Family gpt2 = {"gpt2", 120,
                               "GPT-2, GPT-3, Megatron GPT: learned positions, plain MLP, biases everywhere",
                               read_strictly<read_config>};

}  // namespace tw::families
