// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1): low-rank q and kv, a
// rotary part of k shared by all heads. Down projections are replicated over tp, latents gathered.
#include "costmodel/blocks/attention_core.hpp"
#include "costmodel/blocks/block.hpp"

namespace tw::blocks {
namespace {

bool applies(const LayerKind& kind) {
  return kind.attention.kind == AttentionKind::latent;
}

TensorId query(Builder& b, const Attention& a, TensorId input) {
  const std::int64_t width = std::int64_t{a.heads} * a.head_dim;
  const LinearSpec up{.name = "q_up",
                      .out = width,
                      .split = Split::column,
                      .axis = AxisName::heads,
                      .module = Module::mla_up};
  if (a.q_rank == 0) return b.linear(up, b.require(input, kWhole));
  const TensorId down = b.linear({.name = "q_down",
                                  .out = a.q_rank,
                                  .split = Split::replicated,
                                  .axis = AxisName::latent,
                                  .bias = a.qkv_bias},
                                 input);
  return b.linear(up, b.require(b.norm("q_norm", down, Module::norm), kWhole));
}

TensorId emit(Builder& b, const LayerKind& kind, TensorId input) {
  const Attention& a = kind.attention;
  b.enter(Module::attention);
  const std::int64_t heads = a.heads, nope = a.head_dim - a.rope_dim;
  const TensorId q = query(b, a, input);
  const TensorId down = b.linear({.name = "kv_down",
                                  .out = a.kv_rank + a.rope_dim,
                                  .split = Split::replicated,
                                  .axis = AxisName::latent,
                                  .bias = a.qkv_bias},
                                 input);
  const TensorId latent = b.require(b.norm("kv_norm", down, Module::norm, a.kv_rank), kWhole);
  // The rotary part of k does not go through kv_up: its input is kv_rank wide.
  const TensorId narrow =
      b.pointwise({.name = "kv_latent",
                   .out = {.name = "kv_latent", .rows = b.tokens(), .width = a.kv_rank, .place = kWhole},
                   .module = Module::mla_up},
                  {latent});
  const TensorId kv = b.linear({.name = "kv_up",
                                .out = heads * (nope + a.value_dim),
                                .split = Split::column,
                                .axis = AxisName::heads,
                                .module = Module::mla_up},
                               narrow);
  // q rotated in part; k put together from its own part and the shared rotary part, for every head.
  const double tokens = b.tokens() / b.input().key.tp;
  const double bytes = tokens * static_cast<double>(heads) * (2.0 * a.head_dim + 2.0 * a.head_dim) * 2;
  const TensorSpec qkv{.name = "qkv",
                       .rows = b.tokens(),
                       .width = heads * (2 * a.head_dim + a.value_dim),
                       .place = cut(AxisName::heads)};
  const TensorId ready = b.pointwise({.name = "rope",
                                      .out = qkv,
                                      .forward_bytes = bytes,
                                      .backward_bytes = bytes,
                                      .module = Module::mla_up,
                                      .launches = 2},
                                     {q, kv});
  return attend_and_project(b, a, heads, ready);
}

}  // namespace

extern constinit const Block attention_latent;
constinit const Block attention_latent{"latent-attention", 1, "multi-head latent attention (MLA)", applies,
                                       emit};

}  // namespace tw::blocks
