// Attention over packed rows [q heads | k heads | v heads], cut into blocks of queries and of keys.
#pragma once

#include "tests/unit/kernels/support.hpp"

namespace tw::cpu {

struct Packed {
  HeadShape shape;
  std::vector<std::int32_t> positions, sequences;
  Tensor qkv;

  std::int64_t rows() const { return static_cast<std::int64_t>(positions.size()); }
  std::int64_t q_width() const { return shape.heads * shape.head_dim; }
  std::int64_t kv_width() const { return shape.kv_heads * shape.head_dim; }
  std::int64_t stride() const { return q_width() + 2 * kv_width(); }
  TokenRows tokens() const { return {rows(), positions.data(), sequences.data()}; }
};

// q, k and v at their places in packed rows.
template <class X>
AttentionBlock<X> block_of(const Packed& q, const X* q_data, const Packed& kv, const X* kv_data) {
  const X* keys = kv_data + kv.q_width();
  return {q.shape,
          q.tokens(),
          kv.tokens(),
          {q_data, q.stride()},
          {keys, kv.stride()},
          {keys + kv.kv_width(), kv.stride()}};
}

inline AttentionBlock<double> block_of(const Packed& q, const Packed& kv) {
  return block_of(q, q.qkv.data(), kv, kv.qkv.data());
}

template <class T>
struct State {
  using A = Acc<T>;
  State(const HeadShape& shape, std::int64_t rows)
      : maximum(index(rows * shape.heads)),
        sum(maximum.size()),
        output(index(rows * shape.heads * shape.head_dim)),
        view{maximum.data(), sum.data(), output.data()} {
    Attention<T>::start(shape, rows, view);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  std::vector<A> maximum, sum, output;
  AttentionState<A> view;
};

struct AttentionResult {
  Tensor out, log_sum_exp;
};

// The queries of q against blocks of keys, folded in the order given.
inline AttentionResult attend(const Packed& q, const std::vector<const Packed*>& keys) {
  State<double> state(q.shape, q.rows());
  for (const Packed* kv : keys) Attention<double>::block(block_of(q, *kv), state.view);
  AttentionResult result{zeros(q.rows() * q.q_width()), zeros(q.rows() * q.shape.heads)};
  Attention<double>::finish(q.shape, q.rows(), state.view, {result.out.data(), q.q_width()},
                            result.log_sum_exp.data());
  return result;
}

// Gradients land in packed rows: those of q in dq, those of each block of keys in its own.
inline void attend_backward(const Packed& q, const AttentionResult& result, const Tensor& dout,
                            const std::vector<std::pair<const Packed*, double*>>& keys, double* dq) {
  Tensor dots = zeros(q.rows() * q.shape.heads);
  Attention<double>::row_dots(q.shape, q.rows(), {result.out.data(), q.q_width()}, {dout.data(), q.q_width()},
                              dots.data());
  for (const auto& [kv, gradient] : keys) {
    Attention<double>::backward(block_of(q, *kv),
                                {{dout.data(), q.q_width()}, result.log_sum_exp.data(), dots.data()},
                                {{dq, q.stride()},
                                 {gradient + kv->q_width(), kv->stride()},
                                 {gradient + kv->q_width() + kv->kv_width(), kv->stride()}});
  }
}

// Rows `rows` of a whole, in that order.
inline Packed take(const Packed& whole, const std::vector<std::int64_t>& rows) {
  Packed part{whole.shape, {}, {}, {}};
  for (const std::int64_t row : rows) {
    part.positions.push_back(whole.positions[index(row)]);
    part.sequences.push_back(whole.sequences[index(row)]);
  }
  part.qkv.resize(rows.size() * index(whole.stride()));
  gather_rows(whole.stride(), rows, whole.qkv.data(), part.qkv.data());
  return part;
}

// `lengths` tokens of each sequence, one sequence after another.
inline Packed random_packed(Random& random, HeadShape shape, const std::vector<std::int64_t>& lengths) {
  Packed packed{shape, {}, {}, {}};
  for (std::size_t sequence = 0; sequence < lengths.size(); ++sequence) {
    for (std::int64_t position = 0; position < lengths[sequence]; ++position) {
      packed.positions.push_back(static_cast<std::int32_t>(position));
      packed.sequences.push_back(static_cast<std::int32_t>(sequence));
    }
  }
  packed.qkv = random.tensor(packed.rows() * packed.stride());
  return packed;
}

}  // namespace tw::cpu
