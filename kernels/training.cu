// Scores of a vocabulary part, embedding tables, and a sum with its norm.
#include <cuda_bf16.h>

#include "kernels/training_ops.hpp"
#include "kernels/vectors.cuh"

namespace tw::gpu {
namespace {

using Bf16 = __nv_bfloat16;
constexpr int kThreads = 256;

// Entries of pack i that are no padding.
__device__ int real_in(std::int64_t i, std::int64_t real) {
  const std::int64_t left = real - i * kPack;
  return left >= kPack ? kPack : left < 0 ? 0 : static_cast<int>(left);
}

// One pass: maximum and sum together (online softmax).
__global__ void score_rows(VocabularyPart part, const std::int32_t* targets, const Bf16* logits,
                           float* parts) {
  const std::int64_t packs = part.count / kPack, row = static_cast<std::int64_t>(blockIdx.x) * packs;
  float most = -INFINITY, sum = 0;
  for (std::int64_t i = threadIdx.x; i < packs; i += blockDim.x) {
    const int real = real_in(i, part.real);
    if (real == 0) break;
    const Pack8 p = load8(logits, row + i);
    float larger = most;
    for (int j = 0; j < kPack; ++j) {
      if (j < real) larger = fmaxf(larger, p.v[j]);
    }
    sum *= __expf(most - larger);
    for (int j = 0; j < kPack; ++j) {
      if (j < real) sum += __expf(p.v[j] - larger);
    }
    most = larger;
  }
  const float top = block_max(most);
  const float whole = block_sum(most == -INFINITY ? 0.0f : sum * __expf(most - top));
  if (threadIdx.x != 0) return;
  const std::int64_t target = targets[blockIdx.x] - part.first;
  float* out = parts + 3 * static_cast<std::int64_t>(blockIdx.x);
  out[0] = top, out[1] = whole;
  out[2] = target >= 0 && target < part.real ? __bfloat162float(logits[row * kPack + target]) : 0.0f;
}

__device__ float sum_at(float most, float sum, float top) {
  return sum > 0 ? sum * __expf(most - top) : 0.0f;
}

__global__ void merge_parts(std::int64_t rows, std::int64_t ranks, const float* all, float* parts) {
  for (std::int64_t row = thread_of_all(); row < rows; row += all_threads()) {
    float top = -INFINITY, sum = 0, target = 0;
    for (std::int64_t r = 0; r < ranks; ++r) {
      const float* part = all + 3 * (r * rows + row);
      const float larger = fmaxf(top, part[0]);
      sum = sum_at(top, sum, larger) + sum_at(part[0], part[1], larger);
      top = larger, target += part[2];
    }
    parts[3 * row] = top, parts[3 * row + 1] = sum, parts[3 * row + 2] = target;
  }
}

__device__ void add_of_warps(double x, double* to) {
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0 && x != 0) atomicAdd(to, x);
}

__global__ void sum_losses(std::int64_t rows, const float* parts, double scale, double* loss) {
  double sum = 0;
  for (std::int64_t row = thread_of_all(); row < rows; row += all_threads()) {
    const float* part = parts + 3 * row;
    sum += static_cast<double>(logf(part[1]) + part[0] - part[2]);
  }
  add_of_warps(sum * scale, loss);
}

__global__ void score_gradients(VocabularyPart part, ScoredRows at, float scale, Bf16* logits) {
  const std::int64_t packs = part.count / kPack, row = static_cast<std::int64_t>(blockIdx.x) * packs;
  const float* own = at.parts + 3 * static_cast<std::int64_t>(blockIdx.x);
  const float top = own[0], share = scale / own[1];
  const std::int64_t target = at.targets[blockIdx.x] - part.first;
  for (std::int64_t i = threadIdx.x; i < packs; i += blockDim.x) {
    const int real = real_in(i, part.real);
    Pack8 p = load8(logits, row + i);
    for (int j = 0; j < kPack; ++j) {
      p.v[j] = j < real ? __expf(p.v[j] - top) * share : 0.0f;
      if (j < real && i * kPack + j == target) p.v[j] -= scale;
    }
    store8(logits, row + i, p);
  }
}

__global__ void look_up(TableSize size, const std::int32_t* tokens, const uint4* table, uint4* y) {
  const std::int64_t packs = size.width / kPack, all = size.rows * packs;
  for (std::int64_t i = thread_of_all(); i < all; i += all_threads()) {
    const std::int64_t entry = tokens[i / packs] - size.first;
    const bool here = entry >= 0 && entry < size.count;
    y[i] = here ? table[entry * packs + i % packs] : uint4{0, 0, 0, 0};
  }
}

__global__ void add_to_table(TableSize size, const std::int32_t* tokens, const Bf16* dy, float* dtable) {
  const std::int64_t packs = size.width / kPack, all = size.rows * packs;
  for (std::int64_t i = thread_of_all(); i < all; i += all_threads()) {
    const std::int64_t entry = tokens[i / packs] - size.first;
    if (entry < 0 || entry >= size.count) continue;
    const Pack8 p = load8(dy, i);
    add8(dtable, entry * packs + i % packs, p);
  }
}

// A block per row; a thread keeps kOwned packs of it between the two passes.
template <int kOwned>
__global__ void __launch_bounds__(512) add_norm(NormSize size, AddNorm at) {
  const auto *a = static_cast<const Bf16*>(at.a), *b = static_cast<const Bf16*>(at.b),
             *weight = static_cast<const Bf16*>(at.weight);
  const std::int64_t packs = size.width / kPack, row = static_cast<std::int64_t>(blockIdx.x) * packs;
  Pack8 held[kOwned];
  float squares = 0;
#pragma unroll
  for (int o = 0; o < kOwned; ++o) {
    const std::int64_t i = threadIdx.x + o * static_cast<std::int64_t>(blockDim.x);
    if (i >= packs) continue;
    const Pack8 other = load8(b, row + i);
    held[o] = load8(a, row + i);
    for (int j = 0; j < kPack; ++j) {
      held[o].v[j] = __bfloat162float(__float2bfloat16(held[o].v[j] + other.v[j]));
      squares += held[o].v[j] * held[o].v[j];
    }
    store8(static_cast<Bf16*>(at.sum), row + i, held[o]);
  }
  const float scale = rsqrtf(block_sum(squares) / static_cast<float>(size.width) + size.epsilon);
#pragma unroll
  for (int o = 0; o < kOwned; ++o) {
    const std::int64_t i = threadIdx.x + o * static_cast<std::int64_t>(blockDim.x);
    if (i >= packs) continue;
    const Pack8 w = load8(weight, i);
    for (int j = 0; j < kPack; ++j) held[o].v[j] *= scale * w.v[j];
    store8(static_cast<Bf16*>(at.y), row + i, held[o]);
  }
}

}  // namespace

void score_forward(VocabularyPart part, const std::int32_t* targets, const void* logits, float* parts,
                   Stream stream) {
  score_rows<<<static_cast<unsigned>(part.rows), 1024, 0, stream>>>(part, targets,
                                                                    static_cast<const Bf16*>(logits), parts);
  launched("score_forward");
}

void merge_scores(std::int64_t rows, std::int64_t ranks, const float* all, float* parts, Stream stream) {
  merge_parts<<<blocks_for(rows, kThreads), kThreads, 0, stream>>>(rows, ranks, all, parts);
  launched("merge_scores");
}

void add_loss(std::int64_t rows, const float* parts, double scale, double* loss, Stream stream) {
  sum_losses<<<8, kThreads, 0, stream>>>(rows, parts, scale, loss);
  launched("add_loss");
}

void score_backward(VocabularyPart part, const ScoredRows& at, float scale, void* logits, Stream stream) {
  score_gradients<<<static_cast<unsigned>(part.rows), 1024, 0, stream>>>(part, at, scale,
                                                                         static_cast<Bf16*>(logits));
  launched("score_backward");
}

void embedding_forward(TableSize size, const std::int32_t* tokens, const void* table, void* y,
                       Stream stream) {
  look_up<<<blocks_for(size.rows * size.width / kPack, kThreads), kThreads, 0, stream>>>(
      size, tokens, static_cast<const uint4*>(table), static_cast<uint4*>(y));
  launched("embedding_forward");
}

void embedding_backward(TableSize size, const std::int32_t* tokens, const void* dy, float* dtable,
                        Stream stream) {
  add_to_table<<<blocks_for(size.rows * size.width / kPack, kThreads), kThreads, 0, stream>>>(
      size, tokens, static_cast<const Bf16*>(dy), dtable);
  launched("embedding_backward");
}

void add_norm_forward(NormSize size, const AddNorm& at, Stream stream) {
  const std::int64_t packs = size.width / kPack, whole = (packs + 31) / 32 * 32;
  const int threads = static_cast<int>(whole < 64 ? 64 : whole > 512 ? 512 : whole);
  const auto run = [&](auto kernel) {
    kernel<<<static_cast<unsigned>(size.rows), threads, 0, stream>>>(size, at);
  };
  if (packs <= threads)
    run(add_norm<1>);
  else
    packs <= 2 * threads ? run(add_norm<2>) : run(add_norm<4>);
  launched("add_norm_forward");
}

}  // namespace tw::gpu
