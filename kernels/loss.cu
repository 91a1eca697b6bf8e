// Scores of a part of the vocabulary: cross-entropy and its gradient, row by row.
#include <cuda_bf16.h>

#include "kernels/training_ops.hpp"
#include "kernels/vectors.cuh"

namespace tw::gpu {
namespace {

using Bf16 = __nv_bfloat16;
constexpr int kThreads = 256;

constexpr int kMostThreads = 1024, kAtOnce = 2;
constexpr float kLog2e = 1.44269504f;

__device__ float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Two logits of nothing; entries of a pack from the first `left` on become so.
constexpr std::uint32_t kNone = 0xff80ff80;
__device__ void hide_padding(uint4& pack, int left) {
  std::uint32_t* pairs = &pack.x;
#pragma unroll
  for (int j = 0; j < kPack / 2; ++j) {
    if (2 * j >= left) pairs[j] = kNone;
    if (2 * j + 1 == left) pairs[j] = (pairs[j] & 0xffff) | (kNone & 0xffff0000);
  }
}

// A row of logits, whose padding reads as nothing.
struct Row {
  uint4* packs;
  int count, real;
  __device__ Row(const VocabularyPart& part, const Bf16* logits)
      : packs(reinterpret_cast<uint4*>(const_cast<Bf16*>(logits)) + blockIdx.x * (part.count / kPack)),
        count(static_cast<int>(part.count / kPack)),
        real(static_cast<int>(part.real)) {}
  // Several packs of a thread are on their way at once. Backwards: what was read last is in the cache still.
  template <bool kBackwards, class Visit>
  __device__ void each(Visit visit) const {
    const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
    const int all = kAtOnce * threads, whole = count / all * all;
    const auto rest = [&] {
      for (int i = whole + thread; i < count; i += threads) visit(hidden(packs[i], i), i);
    };
    if (kBackwards) rest();
    for (int turn = 0; turn < whole; turn += all) {
      const int first = (kBackwards ? whole - all - turn : turn) + thread;
      uint4 some[kAtOnce];
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) some[k] = packs[first + k * threads];
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) visit(hidden(some[k], first + k * threads), first + k * threads);
    }
    if (!kBackwards) rest();
  }
  __device__ uint4 hidden(uint4 pack, int i) const {
    if ((i + 1) * kPack > real) hide_padding(pack, real - i * kPack);
    return pack;
  }
};

__device__ float largest_of(const uint4& raw) {
  const auto* pairs = reinterpret_cast<const __nv_bfloat162*>(&raw);
  const __nv_bfloat162 most = __hmax2(__hmax2(pairs[0], pairs[1]), __hmax2(pairs[2], pairs[3]));
  return fmaxf(__low2float(most), __high2float(most));
}

// One pass: maximum and sum together (online softmax), of the whole row.
__device__ float2 softmax_of(const Row& row) {
  float most = -INFINITY, sum = 0;
  row.each<false>([&](const uint4& raw, int) {
    const float larger = largest_of(raw);
    if (larger > most) sum *= power_of_two((most - larger) * kLog2e), most = larger;
    if (most == -INFINITY) return;
    const Pack8 p = widened(raw);
    const float under = most * kLog2e;
#pragma unroll
    for (int j = 0; j < kPack; ++j) sum += power_of_two(p.v[j] * kLog2e - under);
  });
  const float top = block_max(most);
  return {top, block_sum(most == -INFINITY ? 0.0f : sum * power_of_two((most - top) * kLog2e))};
}

// The target's place in this part; -1: others have it.
__device__ int target_of(const VocabularyPart& part, const std::int32_t* targets) {
  const std::int64_t target = targets[blockIdx.x] - part.first;
  return target >= 0 && target < part.real ? static_cast<int>(target) : -1;
}

__device__ void write_parts(const VocabularyPart& part, float2 softmax, int target, const Bf16* logits,
                            float* parts) {
  if (threadIdx.x != 0) return;
  const std::int64_t row = blockIdx.x;
  parts[3 * row] = softmax.x, parts[3 * row + 1] = softmax.y;
  parts[3 * row + 2] = target >= 0 ? __bfloat162float(logits[row * part.count + target]) : 0.0f;
}

__device__ void write_gradient(const Row& row, float2 softmax, int target, float scale) {
  const float share = scale / softmax.y, under = softmax.x * kLog2e;
  row.each<true>([&](const uint4& raw, int i) {
    Pack8 p = widened(raw);
#pragma unroll
    for (int j = 0; j < kPack; ++j) p.v[j] = power_of_two(p.v[j] * kLog2e - under) * share;
    if (target / kPack == i && target >= 0) {
#pragma unroll
      for (int j = 0; j < kPack; ++j) p.v[j] -= target % kPack == j ? scale : 0.0f;
    }
    store8(reinterpret_cast<Bf16*>(row.packs), i, p);
  });
}

// A block per row.
__global__ void __launch_bounds__(kMostThreads)
    score_rows(VocabularyPart part, const std::int32_t* targets, const Bf16* logits, float* parts) {
  const float2 softmax = softmax_of(Row(part, logits));
  write_parts(part, softmax, target_of(part, targets), logits, parts);
}

__global__ void __launch_bounds__(kMostThreads)
    score_gradients(VocabularyPart part, ScoredRows at, float scale, Bf16* logits) {
  const float* own = at.parts + 3 * static_cast<std::int64_t>(blockIdx.x);
  write_gradient(Row(part, logits), {own[0], own[1]}, target_of(part, at.targets), scale);
}

__global__ void __launch_bounds__(kMostThreads)
    score_both(VocabularyPart part, const std::int32_t* targets, float scale, Bf16* logits, float* parts) {
  const Row row(part, logits);
  const float2 softmax = softmax_of(row);
  const int target = target_of(part, targets);
  write_parts(part, softmax, target, logits, parts);
  __syncthreads();
  write_gradient(row, softmax, target, scale);
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

// Of wide rows so few at a time that the cache has them for the second pass.
unsigned threads_for(const VocabularyPart& part) {
  constexpr std::int64_t kWide = 65536;
  return part.count > kWide ? kMostThreads : kMostThreads / 2;
}

}  // namespace

void score_forward(VocabularyPart part, const std::int32_t* targets, const void* logits, float* parts,
                   Stream stream) {
  score_rows<<<static_cast<unsigned>(part.rows), threads_for(part), 0, stream>>>(
      part, targets, static_cast<const Bf16*>(logits), parts);
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
  score_gradients<<<static_cast<unsigned>(part.rows), threads_for(part), 0, stream>>>(
      part, at, scale, static_cast<Bf16*>(logits));
  launched("score_backward");
}

void score_and_gradient(VocabularyPart part, const std::int32_t* targets, float scale, void* logits,
                        float* parts, Stream stream) {
  score_both<<<static_cast<unsigned>(part.rows), threads_for(part), 0, stream>>>(
      part, targets, scale, static_cast<Bf16*>(logits), parts);
  launched("score_and_gradient");
}

}  // namespace tw::gpu
