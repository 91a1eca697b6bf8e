// Launchers of the CUDA kernels that put the blocks of ring attention together (Liu et al. 2023, arXiv
// 2310.01889). Rules as in kernels/device_ops.hpp.
#pragma once

#include "kernels/device_ops.hpp"

namespace tw::gpu {

// Queries [first, first + count) of each of `batch` sequences of `length`. Outputs are [batch, length,
// heads, head_dim]; log-sum-exps are packed: [batch, heads, length] of all queries, [batch, heads, count]
// of a block's.
struct FoldSize {
  std::int64_t batch, length, heads, head_dim;
  std::int64_t first, count;
};
// What attention to some keys gave, in fp32.
struct FoldState {
  float *out, *log_sum_exp;
};
// What attention to other keys gave for the block's queries; nothing is read where count is 0.
struct FoldBlock {
  const void* out;
  const float* log_sum_exp;
};
// The state becomes that of the keys of both: each output weighs exp(its log_sum_exp - that of all).
void fold_attention(FoldSize size, const FoldBlock& block, const FoldState& state, Stream stream);
// The same, into bf16 and with the queries that are not the block's.
void finish_attention(FoldSize size, const FoldBlock& block, const FoldState& state, void* out,
                      float* log_sum_exp, Stream stream);

// Parts of wider rows; in bytes, multiples of 4.
struct RowParts {
  std::int64_t rows, width, from_stride, to_stride;
};
void copy_rows(RowParts size, const void* from, void* to, Stream stream);

// Rows of bf16 added to rows of fp32: of each of `sequences`, the first `rows` of `length`. Strides in
// elements.
struct RowSums {
  std::int64_t sequences, length, rows, width;
  std::int64_t from_stride, to_stride;
};
void add_rows(RowSums size, const void* from, float* to, Stream stream);

}  // namespace tw::gpu
