// Attention of one block of queries against one block of keys and values, with an online softmax (Dao
// et al. 2022, algorithm 1; in a ring: Liu et al. 2023), so that the blocks of a ring are folded in any
// order. A query sees the keys of its own sequence whose position is at most its own; scores are scaled
// by 1 / sqrt(head_dim). Query head h reads key and value head h / (heads / kv_heads).
#pragma once

#include "kernels/cpu/element.hpp"

namespace tw::cpu {

struct HeadShape {
  std::int64_t heads, kv_heads, head_dim;
};

struct TokenRows {
  std::int64_t rows;
  const std::int32_t* positions;
  const std::int32_t* sequences;
};

// Each of q, k and v points at its first head, so all three may lie in packed rows.
template <class T>
struct AttentionBlock {
  HeadShape shape;
  TokenRows q_tokens, kv_tokens;
  Rows<const T> q, k, v;
};

// Per query row and head: the largest score so far, the sum of exp(score - maximum), and the output
// before its division by that sum.
template <class A>
struct AttentionState {
  A* maximum;  // [rows, heads]
  A* sum;      // [rows, heads]
  A* output;   // [rows, heads, head_dim]
};

// What the backward of any block needs of the whole forward.
template <class T>
struct AttentionUpstream {
  Rows<const T> dout;
  const Acc<T>* log_sum_exp;  // [rows, heads]
  const Acc<T>* row_dots;     // [rows, heads]
};

template <class A>
struct AttentionGradients {
  Rows<A> q, k, v;  // accumulated
};

template <class T>
struct Attention {
  using A = Acc<T>;
  // The state of no block.
  static void start(const HeadShape& shape, std::int64_t rows, const AttentionState<A>& state);
  // Folds one block into the state.
  static void block(const AttentionBlock<T>& block, const AttentionState<A>& state);
  // out = output / sum and log_sum_exp [rows, heads]; zeros and -infinity for a query that saw nothing.
  static void finish(const HeadShape& shape, std::int64_t rows, const AttentionState<A>& state, Rows<T> out,
                     A* log_sum_exp);
  // [rows, heads]: products of output and its gradient, summed over a head.
  static void row_dots(const HeadShape& shape, std::int64_t rows, Rows<const T> out, Rows<const T> dout,
                       A* dots);
  // Adds one block's share to the gradients of its queries, keys and values.
  static void backward(const AttentionBlock<T>& block, const AttentionUpstream<T>& upstream,
                       const AttentionGradients<A>& gradients);
};

}  // namespace tw::cpu
