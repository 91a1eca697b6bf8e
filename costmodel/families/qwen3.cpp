#include "costmodel/config_parts.hpp"

namespace tw::families {
namespace {

Model read_config(Config& config) {
  Model model = read_trunk(config);
  Attention attention = read_grouped(config, model.hidden, {.kv_heads = 32, .head_dim = 128});
  attention.qkv_bias = attention.out_bias = config.flag("attention_bias", false);
  attention.qk_norm = QkNorm::head;
  add_qwen_dense_layers(model, config, attention);
  return model;
}

}  // namespace

extern constinit const Family qwen3;
constinit const Family qwen3 = {"qwen3", 60, "Qwen3, dense: norms on q and k, head size of its own",
                                read_strictly<read_config>};

}  // namespace tw::families
