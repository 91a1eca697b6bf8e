// Launchers of the CUDA kernels that a training step needs beyond kernels/device_ops.hpp, under the same
// rules: plain pointers, 16-byte aligned, on a stream; 16-bit elements are bf16 and arithmetic is fp32.
// Row widths are multiples of 8. The formulas are those of kernels/cpu.
#pragma once

#include "kernels/device_ops.hpp"

namespace tw::gpu {

// Logits [rows, count] of the vocabulary's entries from `first` on; those beyond the first `real` are
// padding. parts: per row the largest logit, the sum of exponentials under it, and the target's logit.
struct VocabularyPart {
  std::int64_t rows, count, first, real;
};
void score_forward(VocabularyPart part, const std::int32_t* targets, const void* logits, float* parts,
                   Stream stream);
// all: [ranks, rows, 3].
void merge_scores(std::int64_t rows, std::int64_t ranks, const float* all, float* parts, Stream stream);
// *loss += scale * the sum over rows.
void add_loss(std::int64_t rows, const float* parts, double scale, double* loss, Stream stream);
struct ScoredRows {
  const std::int32_t* targets;
  const float* parts;
};
// (softmax - onehot) * scale in place of the logits; 0 for padding.
void score_backward(VocabularyPart part, const ScoredRows& at, float scale, void* logits, Stream stream);
// Both at once, of the whole vocabulary: logits are read and written once.
void score_and_gradient(VocabularyPart part, const std::int32_t* targets, float scale, void* logits,
                        float* parts, Stream stream);

// Entries [first, first + count) of a table; a token outside them gives zeros.
struct TableSize {
  std::int64_t rows, width, first, count;
};
void embedding_forward(TableSize size, const std::int32_t* tokens, const void* table, void* y, Stream stream);
void embedding_backward(TableSize size, const std::int32_t* tokens, const void* dy, float* dtable,
                        Stream stream);

// RMSNorm of each of `heads` vectors of `width` at `column` of rows of `stride` elements, in place: of x,
// or of the gradient with x beside it. dweight is accumulated. Widths are at most 256.
struct HeadNormSize {
  std::int64_t rows, heads, width, stride, column;
  float epsilon;
};
void head_norm_forward(HeadNormSize size, const void* weight, void* x, Stream stream);
struct HeadNormBackward {
  const void *x, *weight;
  void* dy;
  float* dweight;
};
void head_norm_backward(HeadNormSize size, const HeadNormBackward& at, Stream stream);

// Packed rows [q | k | v] of `heads` and twice `kv_heads` heads: norms of q and k, then their rotary
// positions, in one pass; v as it is. weight: [2, head_dim] of q and of k; angles as gpu::rope takes them.
struct NormRopeSize {
  std::int64_t rows, heads, kv_heads, head_dim, length;
  float epsilon;
};
struct Angles {
  const float *cosines, *sines;
};
void norm_rope_forward(const NormRopeSize& size, const void* x, const void* weight, Angles angles, void* y,
                       Stream stream);
// Back through the rotation, whose angles are turned round, then through the norms. dx may be dy.
struct NormRopeBackward {
  const void *x, *weight, *dy;
  void* dx;
  float* dweight;
};
void norm_rope_backward(const NormRopeSize& size, const NormRopeBackward& at, Angles angles, Stream stream);

// Rows of up to three sections of columns, and the same cut over ranks as they travel: each rank has its part
// of each section, of all tokens of each sequence: [sequence][rank][token][part of a row].
struct HeadSplit {
  static constexpr int kSections = 3;
  std::int64_t sequences, length, ranks;
  std::int64_t section[kSections];  // widths; 0: none
};
void split_heads(const HeadSplit& size, const void* rows, void* parts, Stream stream);
void join_heads(const HeadSplit& size, const void* parts, void* rows, Stream stream);

// sum = a + b, and y its norm, in one pass.
struct AddNorm {
  const void *a, *b, *weight;
  void *sum, *y;
};
void add_norm_forward(NormSize size, const AddNorm& at, Stream stream);

void add_fp32(const float* x, float* y, std::int64_t count, Stream stream);  // y += x

// Neighbouring elements of a piece of a weight, which begins at `global` of the whole weight. Arrays of
// runs are read by the GPU, from its memory or from page-locked memory.
struct ElementRun {
  std::int64_t local, global, count;
};
struct ElementRuns {
  const ElementRun* at;
  std::int64_t count;
};
// What kernels/cpu/initial.hpp gives: deviation times the normal value of (seed, weight, element).
struct InitialKey {
  std::uint64_t seed, weight;
  double deviation;
};
void initial_normal(InitialKey key, const ElementRuns& runs, float* out, Stream stream);
void fill_fp32(const ElementRuns& runs, float value, float* out, Stream stream);
// *sum += the squares of the runs' elements.
void sum_of_squares(const ElementRuns& runs, const float* x, double* sum, Stream stream);

// Elements that several ranks hold alike: packed side by side, and after all of their packs came together
// ([ranks, packed]) the sum over `sharers` of them from `first` on back to where they were.
struct SharedRun {
  std::int64_t local, packed, count, first, sharers;
};
struct SharedRuns {
  const SharedRun* at;
  std::int64_t count, packed;  // packed: elements of one rank's pack
};
void pack_shared(const SharedRuns& runs, const float* x, float* pack, Stream stream);
void sum_shared(const SharedRuns& runs, const float* all, float* x, Stream stream);

// *factor = limit / sqrt(*squares) where that norm is larger than a positive limit, else 1.
void clip_factor(const double* squares, double limit, float* factor, Stream stream);
// As adamw, of the gradient times *factor.
void adamw_clipped(AdamWStep step, const float* factor, const AdamWRange& range, Stream stream);

}  // namespace tw::gpu
