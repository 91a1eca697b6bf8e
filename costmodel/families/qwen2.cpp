#include "costmodel/config_parts.hpp"

namespace tw::families {
namespace {

Model read_config(Config& config) {
  Model model = read_trunk(config);
  Attention attention = read_grouped(config, model.hidden, {.kv_heads = 32});
  attention.qkv_bias = true;
  add_qwen_dense_layers(model, config, attention);
  return model;
}

}  // namespace

extern constinit const Family qwen2;
constinit const Family qwen2 = {"qwen2", 40, "Qwen2 and Qwen2.5, dense: biases in q, k and v",
                                read_strictly<read_config>};

}  // namespace tw::families
