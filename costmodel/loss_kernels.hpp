// LM head and cross-entropy kernels that never hold all logits: chunks, operations and bytes by formula.
// Liger-Kernel (ops/fused_linear_cross_entropy.py), Cut Cross-Entropy (Wijmans et al. 2024, arXiv
// 2411.09009), chunks of the vocabulary (prime-rl, trainer/models/layers/lm_head.py).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include "costmodel/program/op.hpp"

namespace tw {

// whole: all logits, as KernelMechanisms::fused_loss and its passes say. liger: chunks of rows, gradients
// in the forward; liger_in_place: its releases that add each chunk's gradient by addmm. cce: tiles that never
// leave the chip, gradients filtered; cce_kahan: the classifier's gradient unfiltered with compensated sums.
// vocab_chunks: online softmax over slices of the vocabulary, one kernel per operator; vocab_chunks_fused:
// the same with one kernel per direction. row_chunks: an ordinary head, whose products and loss take some
// rows after the others, forward and backward together, so that logits of one chunk are there at a time.
enum class LossKernel : std::uint8_t {
  whole,
  liger,
  liger_in_place,
  cce,
  cce_kahan,
  vocab_chunks,
  vocab_chunks_fused,
  row_chunks
};
constexpr auto enum_names(const LossKernel*) {
  return std::array<std::pair<LossKernel, std::string_view>, 8>{
      {{LossKernel::whole, "whole"},
       {LossKernel::liger, "liger"},
       {LossKernel::liger_in_place, "liger_in_place"},
       {LossKernel::cce, "cce"},
       {LossKernel::cce_kahan, "cce_kahan"},
       {LossKernel::vocab_chunks, "vocab_chunks"},
       {LossKernel::vocab_chunks_fused, "vocab_chunks_fused"},
       {LossKernel::row_chunks, "row_chunks"}}};
}

struct LossCall {
  LossKernel kernel = LossKernel::whole;
  std::int64_t rows = 0, hidden = 0, vocab = 0;  // of one rank
  std::int64_t chunk = 0;                        // of the vocabulary, or of rows, where it is cut
  bool backward = true;
  bool trained = true;     // the head's weight has a gradient
  bool cast_head = false;  // an fp32 head under autocast: cast again for every product
};

// Liger: as many chunks as make one chunk's logits about as large as the input, in powers of two:
// next_power_of_2(ceil(rows / ceil(vocab / hidden))).
struct RowChunks {
  std::int64_t rows = 0, count = 0;
};
RowChunks liger_chunks(std::int64_t rows, std::int64_t hidden, std::int64_t vocab);

struct LossOps {
  OpList forward, backward;
};
// For kernels other than `whole` and `row_chunks`.
LossOps loss_ops(const LossCall& call);

// Bytes at the peak beyond input, head and what the framework holds anyway: chunks, gradients of input
// and head where the kernel makes them itself.
std::int64_t loss_bytes(const LossCall& call);

// Peak of a stand-alone run in PyTorch on bf16 input and head: with them, and with `backward` their
// clones, gradients and cuBLAS workspaces. `whole` and the chunks of the vocabulary upcast to fp32 there.
std::int64_t stand_alone_bytes(const LossCall& call, std::int64_t workspace);

}  // namespace tw
