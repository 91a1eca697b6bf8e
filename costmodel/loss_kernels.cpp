#include "costmodel/loss_kernels.hpp"

#include <algorithm>

#include "topology/check.hpp"

namespace tw {
namespace {

constexpr std::int64_t kBf16 = size_of(DType::bf16), kFp32 = size_of(DType::fp32);

std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

Op gemm(std::string_view name, const GemmShape& shape, double times) {
  Op op;
  op.name = name;
  op.work = shape;
  op.share = times;
  op.launches = static_cast<std::int16_t>(times);
  return op;
}

Op stream(std::string_view name, std::int64_t bytes, double times, std::int64_t launches) {
  Op op;
  op.name = name;
  op.work = Elementwise{Bytes(bytes)};
  op.term = Term::elementwise;
  op.share = times;
  op.launches = static_cast<std::int16_t>(static_cast<double>(launches) * times);
  return op;
}

// Per chunk: logits; softmax in place (two reads, one write); gradient of the input; gradient of the head
// as a bf16 product, cast to fp32 and added: 2 + 4, then 2 + 4 + 2 (an fp32 sum: 2 + 4, 4 + 4 + 4); in
// place the product reads the sum once more. The backward only multiplies both gradients by the loss's.
LossOps liger_ops(const LossCall& c) {
  const RowChunks chunks = liger_chunks(c.rows, c.hidden, c.vocab);
  const auto times = static_cast<double>(chunks.count);
  const GemmShape product{chunks.rows, c.vocab, c.hidden};
  const auto pass = [&](GemmPass which) {
    GemmShape shape = product;
    shape.pass = which;
    return shape;
  };
  const std::int64_t head = c.vocab * c.hidden, sum = c.cast_head ? kFp32 : kBf16;
  LossOps out;
  if (c.cast_head) out.forward.push_back(stream("head_cast", head * (kFp32 + kBf16), times, 1));
  out.forward.push_back(gemm("lm_head", pass(GemmPass::forward), times));
  out.forward.push_back(stream("loss", 3 * chunks.rows * c.vocab * kBf16, times, 6));
  out.forward.push_back(gemm("lm_head", pass(GemmPass::dgrad), times));
  if (c.trained) {
    out.forward.push_back(gemm("lm_head", pass(GemmPass::wgrad), times));
    const bool in_place = c.kernel == LossKernel::liger_in_place;
    const std::int64_t added = in_place ? sum : kBf16 + 2 * kFp32 + 2 * sum;
    out.forward.push_back(stream("head_gradient", head * added, times, in_place ? 0 : 2));
    out.backward.push_back(stream("head_gradient", 2 * head * sum, 1, 1));
  }
  out.backward.push_back(stream("loss", 2 * c.rows * c.hidden * kBf16, 1, 1));
  return out;
}

// Rows of one tile of Cut Cross-Entropy's backward: each adds its part of the head's gradient in memory.
constexpr std::int64_t kTileRows = 128;

// Forward of Cut Cross-Entropy on an A100, 8192 rows, 256,000 x 2304: 46.4 ms (apple/ml-cross-entropy
// README), 208.3 TFLOP/s in Triton. A library's best bf16 product there: 267.9 (stas00/ml-engineering, table
// of maximum achievable matmul FLOPS). derived: as much slower on other GPUs.
constexpr double kInTriton = 267.9 / 208.3;
// Backward over forward, filtered: 89.3 ms over 46.4 ms (the same README): the product again, and what is
// left of both gradients.
constexpr double kFilteredBackward = 89.3 / 46.4;

// Forward: the product and its sums in one kernel. Backward: the product again, then both gradients of
// the tiles that matter. Unfiltered with Kahan's sums (its half of the rest is whole) every tile of rows
// reads and writes a bf16 sum and its compensation of the whole head.
LossOps cce_ops(const LossCall& c) {
  const GemmShape product{c.rows, c.vocab, c.hidden};
  const std::int64_t head = c.vocab * c.hidden;
  LossOps out;
  if (c.cast_head) out.forward.push_back(stream("head_cast", head * (kFp32 + kBf16), 1, 1));
  out.forward.push_back(gemm("lm_head", product, kInTriton));
  const bool whole = c.kernel == LossKernel::cce_kahan || !c.trained;
  const double times = whole ? (1 + kFilteredBackward) / 2 : kFilteredBackward;
  Op backward = gemm("lm_head", product, kInTriton * times);
  backward.launches = 1;
  out.backward.push_back(backward);
  if (c.kernel == LossKernel::cce_kahan && c.trained) {
    GemmShape gradient = product;
    gradient.pass = GemmPass::wgrad;
    out.backward.push_back(gemm("lm_head", gradient, kInTriton));
    out.backward.push_back(stream("head_gradient", 4 * head * kBf16 * ceil_div(c.rows, kTileRows), 1, 1));
  }
  if (c.trained) out.backward.push_back(stream("head_gradient", 2 * head * kBf16, 1, 1));
  return out;
}

// fp32 throughout. Forward: product and online softmax; backward: the product again, both gradients. One
// kernel per operator: 5 reads and 3 writes of a chunk forward, 4 and 3 backward; fused: 2, and 1 and 1.
LossOps vocab_ops(const LossCall& c) {
  TW_CHECK(c.chunk > 0);
  const auto times = static_cast<double>(ceil_div(c.vocab, c.chunk));
  const bool fused = c.kernel == LossKernel::vocab_chunks_fused;
  const auto fp32 = [&](GemmPass which) {
    Op op = gemm("lm_head", {c.rows, c.chunk, c.hidden, which}, times);
    op.math = Math::fp32;
    return op;
  };
  const std::int64_t logits = c.rows * c.chunk * kFp32, slice = c.chunk * c.hidden;
  LossOps out;
  const Op cast = stream("head_cast", slice * (kBf16 + kFp32), times, 1);
  out.forward = {cast, fp32(GemmPass::forward),
                 stream("loss", (fused ? 2 : 8) * logits, times, fused ? 1 : 8)};
  out.backward = {cast, fp32(GemmPass::forward),
                  stream("loss", (fused ? 2 : 7) * logits, times, fused ? 1 : 6), fp32(GemmPass::dgrad)};
  if (!c.trained) return out;
  out.backward.push_back(fp32(GemmPass::wgrad));
  out.backward.push_back(stream("head_gradient", slice * (kFp32 + 4 * kBf16), times, 2));
  return out;
}

// Most fp32 slices [rows, chunk] alive in a loop of Python: the old ones live until they are assigned.
std::int64_t vocab_peak(const LossCall& c) {
  const std::int64_t logits = c.rows * c.chunk * kFp32, slice = c.chunk * c.hidden * kFp32;
  if (!c.backward) return 3 * logits;
  const bool fused = c.kernel == LossKernel::vocab_chunks_fused;
  const std::int64_t in_softmax = slice + (fused ? 2 : 5) * logits;  // the next pass over the last one's
  const std::int64_t in_gradient = slice + (fused ? 1 : 3) * logits + slice + slice / 2;
  return std::max(in_softmax, in_gradient) + c.rows * c.hidden * 2 * kFp32 +
         (c.trained ? c.vocab * c.hidden * kBf16 : 0);
}

// Of all logits in fp32: three at once in the softmax's backward, or one with both products' results.
std::int64_t whole_peak(const LossCall& c) {
  const std::int64_t logits = c.rows * c.vocab * kFp32;
  if (!c.backward) return 3 * logits;
  const std::int64_t operands = (c.rows + c.vocab) * c.hidden * kFp32;
  return operands + std::max(3 * logits, logits + operands);
}

}  // namespace

RowChunks liger_chunks(std::int64_t rows, std::int64_t hidden, std::int64_t vocab) {
  const std::int64_t wanted = ceil_div(rows, ceil_div(vocab, hidden));
  std::int64_t chunk = 1;
  while (chunk < wanted) chunk *= 2;
  return {chunk, ceil_div(rows, chunk)};
}

LossOps loss_ops(const LossCall& call) {
  TW_CHECK(call.kernel != LossKernel::whole && call.kernel != LossKernel::row_chunks);
  LossOps out;
  if (call.kernel == LossKernel::liger || call.kernel == LossKernel::liger_in_place) {
    out = liger_ops(call);
  } else if (call.kernel == LossKernel::cce || call.kernel == LossKernel::cce_kahan) {
    out = cce_ops(call);
  } else {
    out = vocab_ops(call);
  }
  for (OpList* ops : {&out.forward, &out.backward}) {
    for (Op& op : *ops) op.term = Term::head;
  }
  return out;
}

// Liger: a chunk of logits, the gradient of the input, and of the head the sum, one chunk's product and
// its fp32 copy. CCE: bf16 gradients of both, with Kahan's sums a compensation of each, and the head's
// once more as it is handed on.
std::int64_t loss_bytes(const LossCall& c) {
  const std::int64_t input = c.rows * c.hidden * kBf16, head = c.trained ? c.vocab * c.hidden : 0;
  switch (c.kernel) {
    case LossKernel::whole:
      return whole_peak(c);
    case LossKernel::liger_in_place:
      return liger_chunks(c.rows, c.hidden, c.vocab).rows * c.vocab * kBf16 + input +
             head * (c.cast_head ? kFp32 : kBf16) + (c.cast_head ? c.vocab * c.hidden * kBf16 : 0);
    case LossKernel::liger:
      return liger_chunks(c.rows, c.hidden, c.vocab).rows * c.vocab * kBf16 + input +
             head * (kBf16 + kFp32 + (c.cast_head ? kFp32 : kBf16)) +
             (c.cast_head ? c.vocab * c.hidden * kBf16 : 0);
    case LossKernel::cce:
      return input + head * kBf16;
    case LossKernel::cce_kahan:
      return 2 * input + 3 * head * kBf16;
    case LossKernel::vocab_chunks:
    case LossKernel::vocab_chunks_fused:
      return vocab_peak(c);
    case LossKernel::row_chunks:
      return std::min(c.rows, c.chunk) * c.vocab * kBf16;
  }
  return 0;
}

std::int64_t stand_alone_bytes(const LossCall& c, std::int64_t workspace) {
  const std::int64_t input = c.rows * c.hidden * kBf16, head = c.vocab * c.hidden * kBf16;
  if (!c.backward) return input + head + workspace + loss_bytes(c);
  // The backward runs on a thread of its own, with its own cuBLAS handle.
  return 2 * (input + head) + 2 * workspace + loss_bytes(c);
}

}  // namespace tw
