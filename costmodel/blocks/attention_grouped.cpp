// Multi-head and grouped-query attention (Ainslie et al. 2023, arXiv 2305.13245) with heads cut over
// tp and the sequence over cp: ring (contiguous or zigzag halves) or all-to-all to heads (Ulysses,
// arXiv 2309.14509).
#include <algorithm>
#include <cmath>

#include "costmodel/blocks/attention_core.hpp"
#include "costmodel/blocks/block.hpp"

namespace tw::blocks {
namespace {

bool applies(const LayerKind& kind) {
  return kind.attention.kind == AttentionKind::grouped;
}

std::int16_t qk_norm_weights(Builder& b, const Attention& a) {
  if (a.qk_norm == QkNorm::none) return -1;
  const bool full = a.qk_norm == QkNorm::full;
  const std::int64_t elements = full ? std::int64_t{a.heads + a.kv_heads} * a.head_dim : 2 * a.head_dim;
  const std::int64_t local = full ? elements / b.input().key.tp : elements;
  Weight weight{"qk_norm", elements, local, Scope::attention, !full, false};
  weight.rows = {{2, 2, 1}};
  weight.columns = weight.local_columns = a.head_dim;
  return b.weight(weight);
}

TensorId emit(Builder& b, const LayerKind& kind, TensorId input) {
  const Attention& a = kind.attention;
  b.enter(Module::attention);
  const std::int64_t tp = b.input().key.tp;
  const std::int64_t kv = std::max<std::int64_t>(a.kv_heads, tp);  // fewer KV heads than ranks: replicated
  const std::int64_t q_width = std::int64_t{a.heads} * a.head_dim;
  const TensorId whole = b.require(input, kWhole);
  const TensorId qkv = b.linear({.name = "qkv",
                                 .out = q_width + 2 * kv * a.head_dim,
                                 .counted_out = q_width + std::int64_t{2} * a.kv_heads * a.head_dim,
                                 .split = Split::column,
                                 .axis = AxisName::heads,
                                 .bias = a.qkv_bias,
                                 .parts = {q_width, kv * a.head_dim, kv * a.head_dim}},
                                whole);
  const double local = static_cast<double>(b.local_bytes(qkv));
  const double qk = local * static_cast<double>(q_width + kv * a.head_dim) /
                    static_cast<double>(q_width + 2 * kv * a.head_dim);
  const std::int16_t norms = qk_norm_weights(b, a);
  const HeadShape heads{a.heads / tp, kv / tp, a.head_dim};
  TensorId ready = qkv;
  const TensorSpec like{.name = "qkv",
                        .rows = b.tokens(),
                        .width = q_width + 2 * kv * a.head_dim,
                        .place = cut(AxisName::heads)};
  if (a.qk_norm != QkNorm::none) {
    ready = b.pointwise({.name = "qk_norm",
                         .what = Operator::head_norm,
                         .out = like,
                         .forward_bytes = 2 * qk,
                         .backward_bytes = 3 * qk,
                         .keeps_input = true,
                         .module = Module::norm,
                         .launches = 2,
                         .weight = norms,
                         .heads = heads},
                        {ready});
  }
  if (b.model().positions == Positions::rotary) {
    // Unfused: times cosine (2), rotate by negating a half and joining (1 + 2), times sine (2), sum (3).
    // Merged projections stay beside rotated q and k, as v is a view of them.
    const bool fused = b.kernels().fused_rope;
    const double passes = fused ? 2 : 10;
    const bool beside = !fused && b.kernels().merged_projections;
    ready = b.pointwise({.name = "rope",
                         .what = Operator::rotate,
                         .out = like,
                         .forward_bytes = passes * qk,
                         .backward_bytes = passes * qk,
                         .launches = static_cast<std::int16_t>(fused ? 1 : 10),
                         .kept_bytes = beside ? std::llround(qk) : 0,
                         .heads = heads},
                        {ready});
  }
  const std::int64_t attended_kv = b.kernels().expanded_kv ? a.heads : kv;
  if (attended_kv != kv) {
    TensorSpec wide = like;
    wide.width = 3 * q_width;
    const double written =
        static_cast<double>(2 * (attended_kv - kv) * a.head_dim * 2) * b.tokens() / static_cast<double>(tp);
    ready = b.pointwise({.name = "expand_kv",
                         .out = wide,
                         .forward_bytes = 2 * written,
                         .backward_bytes = 2 * written,
                         .launches = 2},
                        {ready});
  }
  if (a.sinks) b.weight({"sinks", a.heads, a.heads / tp, Scope::attention, false, false});
  return attend_and_project(b, a, attended_kv, ready);
}

}  // namespace

extern constinit const Block attention_grouped;
constinit const Block attention_grouped{"attention", 0, "multi-head or grouped-query attention", applies,
                                        emit};

}  // namespace tw::blocks
