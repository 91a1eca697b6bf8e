#include "kernels/cpu/attention.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>

#include "kernels/cpu/gemm.hpp"
#include "kernels/cpu/widened.hpp"
#include "topology/check.hpp"

namespace tw::cpu {
namespace {

// Scores exist for one tile at a time (32 KiB in double); tiles that the mask empties are skipped.
constexpr std::int64_t kTile = 64;

template <class A>
using TileScores = std::array<A, kTile * kTile>;

struct Tile {
  std::int64_t q_first, q_count, kv_first, kv_count;
  std::array<bool, kTile * kTile> visible;  // [q_count, kTile]

  const bool* row(std::int64_t q) const { return visible.data() + q * kTile; }
};

// True if any key is visible.
bool set_mask(const TokenRows& q, const TokenRows& kv, Tile& tile) {
  bool any = false;
  for (std::int64_t i = 0; i < tile.q_count; ++i) {
    const std::int64_t query = tile.q_first + i;
    bool* row = tile.visible.data() + i * kTile;
    for (std::int64_t j = 0; j < tile.kv_count; ++j) {
      const std::int64_t key = tile.kv_first + j;
      row[j] = q.sequences[query] == kv.sequences[key] && kv.positions[key] <= q.positions[query];
      any = any || row[j];
    }
  }
  return any;
}

template <class Body>
void for_each_visible_tile(const TokenRows& q, const TokenRows& kv, const Body& body) {
  Tile tile{};
  for (tile.q_first = 0; tile.q_first < q.rows; tile.q_first += kTile) {
    tile.q_count = std::min(kTile, q.rows - tile.q_first);
    for (tile.kv_first = 0; tile.kv_first < kv.rows; tile.kv_first += kTile) {
      tile.kv_count = std::min(kTile, kv.rows - tile.kv_first);
      if (set_mask(q, kv, tile)) body(tile);
    }
  }
}

template <class A>
A scale_of(const HeadShape& shape) {
  return 1 / std::sqrt(static_cast<A>(shape.head_dim));
}

template <class A>
Rows<A> part(Rows<A> rows, std::int64_t first, std::int64_t feature) {
  return {rows[first] + feature, rows.stride};
}

// Where a query head, and the key head that it reads, begin in their rows.
struct HeadOffsets {
  std::int64_t q, kv;
};

HeadOffsets offsets_of(const HeadShape& shape, std::int64_t head) {
  return {head * shape.head_dim, head / (shape.heads / shape.kv_heads) * shape.head_dim};
}

// Raw scores q k^T of one head of a tile, [q_count, kTile].
template <class A>
void raw_scores(const AttentionBlock<A>& block, const Tile& tile, HeadOffsets at, TileScores<A>& scores) {
  gemm_nt<A>({.m = tile.q_count, .n = tile.kv_count, .k = block.shape.head_dim},
             part(block.q, tile.q_first, at.q), part(block.k, tile.kv_first, at.kv), {scores.data(), kTile});
}

// One query's running softmax.
template <class A>
struct RowState {
  A& maximum;
  A& sum;
  std::span<A> output;
};

// Scores of one query become exp(score - maximum); its state moves to the new maximum.
template <class A>
void fold_row(std::span<A> scores, const bool* visible, A scale, const RowState<A>& state) {
  A maximum = state.maximum;
  for (std::size_t j = 0; j < scores.size(); ++j) {
    if (visible[j]) maximum = std::max(maximum, scores[j] * scale);
  }
  A sum = 0;
  for (std::size_t j = 0; j < scores.size(); ++j) {
    scores[j] = visible[j] ? std::exp(scores[j] * scale - maximum) : 0;
    sum += scores[j];
  }
  if (maximum == state.maximum) {
    state.sum += sum;  // also where nothing has been seen: both maxima are -infinity
    return;
  }
  const A keep = std::exp(state.maximum - maximum);
  state.maximum = maximum;
  state.sum = state.sum * keep + sum;
  for (A& value : state.output) value *= keep;
}

template <class A>
void fold_head(const AttentionBlock<A>& block, const Tile& tile, std::int64_t head,
               const AttentionState<A>& state) {
  const HeadShape& shape = block.shape;
  const HeadOffsets at = offsets_of(shape, head);
  const std::int64_t width = shape.heads * shape.head_dim;
  TileScores<A> scores;
  raw_scores(block, tile, at, scores);
  for (std::int64_t i = 0; i < tile.q_count; ++i) {
    const std::int64_t row = tile.q_first + i;
    const std::int64_t cell = row * shape.heads + head;
    fold_row<A>({scores.data() + i * kTile, static_cast<std::size_t>(tile.kv_count)}, tile.row(i),
                scale_of<A>(shape),
                {state.maximum[cell],
                 state.sum[cell],
                 {state.output + row * width + at.q, static_cast<std::size_t>(shape.head_dim)}});
  }
  gemm_nn_add<A>({.m = tile.q_count, .n = shape.head_dim, .k = tile.kv_count}, {scores.data(), kTile},
                 part(block.v, tile.kv_first, at.kv), {state.output + tile.q_first * width + at.q, width});
}

// From raw scores and dP = dout v^T: P = exp(score - log_sum_exp) and dS = scale P (dP - row dot).
template <class A>
void softmax_backward(const AttentionBlock<A>& block, const Tile& tile, std::int64_t head,
                      const AttentionUpstream<A>& upstream, std::array<TileScores<A>, 2>& p_and_ds) {
  const A scale = scale_of<A>(block.shape);
  for (std::int64_t i = 0; i < tile.q_count; ++i) {
    const std::int64_t cell = (tile.q_first + i) * block.shape.heads + head;
    A* p = p_and_ds[0].data() + i * kTile;
    A* ds = p_and_ds[1].data() + i * kTile;
    for (std::int64_t j = 0; j < tile.kv_count; ++j) {
      p[j] = tile.row(i)[j] ? std::exp(p[j] * scale - upstream.log_sum_exp[cell]) : 0;
      ds[j] = scale * p[j] * (ds[j] - upstream.row_dots[cell]);
    }
  }
}

template <class A>
void backward_head(const AttentionBlock<A>& block, const Tile& tile, std::int64_t head,
                   const AttentionUpstream<A>& upstream, const AttentionGradients<A>& gradients) {
  const HeadOffsets at = offsets_of(block.shape, head);
  const std::int64_t dim = block.shape.head_dim;
  const Rows<const A> dout = part(upstream.dout, tile.q_first, at.q);
  std::array<TileScores<A>, 2> p_and_ds;
  const Rows<A> ds{p_and_ds[1].data(), kTile};
  raw_scores(block, tile, at, p_and_ds[0]);
  gemm_nt<A>({tile.q_count, tile.kv_count, dim}, dout, part(block.v, tile.kv_first, at.kv), ds);
  softmax_backward(block, tile, head, upstream, p_and_ds);
  const GemmSize to_kv{tile.kv_count, dim, tile.q_count};
  gemm_tn_add<A>(to_kv, {p_and_ds[0].data(), kTile}, dout, part(gradients.v, tile.kv_first, at.kv));
  gemm_tn_add<A>(to_kv, {ds.data, kTile}, part(block.q, tile.q_first, at.q),
                 part(gradients.k, tile.kv_first, at.kv));
  gemm_nn_add<A>({tile.q_count, dim, tile.kv_count}, {ds.data, kTile}, part(block.k, tile.kv_first, at.kv),
                 part(gradients.q, tile.q_first, at.q));
}

// The block with q, k and v as Acc<T>.
template <class T>
struct WideBlock {
  explicit WideBlock(const AttentionBlock<T>& from)
      : q(from.q_tokens.rows, from.shape.heads * from.shape.head_dim, from.q),
        k(from.kv_tokens.rows, from.shape.kv_heads * from.shape.head_dim, from.k),
        v(from.kv_tokens.rows, from.shape.kv_heads * from.shape.head_dim, from.v),
        block{from.shape, from.q_tokens, from.kv_tokens, q.view(), k.view(), v.view()} {
    TW_CHECK(from.shape.heads % from.shape.kv_heads == 0);
  }

  Widened<T> q, k, v;
  AttentionBlock<Acc<T>> block;
};

}  // namespace

template <class T>
void Attention<T>::start(const HeadShape& shape, std::int64_t rows, const AttentionState<A>& state) {
  std::fill_n(state.maximum, rows * shape.heads, -std::numeric_limits<A>::infinity());
  std::fill_n(state.sum, rows * shape.heads, A{0});
  std::fill_n(state.output, rows * shape.heads * shape.head_dim, A{0});
}

template <class T>
void Attention<T>::block(const AttentionBlock<T>& block, const AttentionState<A>& state) {
  const WideBlock<T> wide(block);
  for_each_visible_tile(block.q_tokens, block.kv_tokens, [&](const Tile& tile) {
    for (std::int64_t head = 0; head < block.shape.heads; ++head) fold_head(wide.block, tile, head, state);
  });
}

template <class T>
void Attention<T>::finish(const HeadShape& shape, std::int64_t rows, const AttentionState<A>& state,
                          Rows<T> out, A* log_sum_exp) {
  for (std::int64_t cell = 0; cell < rows * shape.heads; ++cell) {
    const A sum = state.sum[cell];
    const A* from = state.output + cell * shape.head_dim;
    T* to = out[cell / shape.heads] + cell % shape.heads * shape.head_dim;
    log_sum_exp[cell] = state.maximum[cell] + std::log(sum);
    for (std::int64_t i = 0; i < shape.head_dim; ++i) to[i] = static_cast<T>(sum > 0 ? from[i] / sum : 0);
  }
}

template <class T>
void Attention<T>::row_dots(const HeadShape& shape, std::int64_t rows, Rows<const T> out, Rows<const T> dout,
                            A* dots) {
  for (std::int64_t cell = 0; cell < rows * shape.heads; ++cell) {
    const std::int64_t row = cell / shape.heads;
    const std::int64_t offset = cell % shape.heads * shape.head_dim;
    A sum = 0;
    for (std::int64_t i = offset; i < offset + shape.head_dim; ++i) {
      sum += static_cast<A>(out[row][i]) * static_cast<A>(dout[row][i]);
    }
    dots[cell] = sum;
  }
}

template <class T>
void Attention<T>::backward(const AttentionBlock<T>& block, const AttentionUpstream<T>& upstream,
                            const AttentionGradients<A>& gradients) {
  const WideBlock<T> wide(block);
  const Widened<T> dout(block.q_tokens.rows, block.shape.heads * block.shape.head_dim, upstream.dout);
  const AttentionUpstream<A> from{dout.view(), upstream.log_sum_exp, upstream.row_dots};
  for_each_visible_tile(block.q_tokens, block.kv_tokens, [&](const Tile& tile) {
    for (std::int64_t head = 0; head < block.shape.heads; ++head) {
      backward_head(wide.block, tile, head, from, gradients);
    }
  });
}

template struct Attention<double>;
template struct Attention<float>;
template struct Attention<bf16>;

}  // namespace tw::cpu
