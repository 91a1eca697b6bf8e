// Embedding tables, and a sum with its norm.
#include <cuda_bf16.h>

#include "kernels/training_ops.hpp"
#include "kernels/vectors.cuh"

namespace tw::gpu {
namespace {

using Bf16 = __nv_bfloat16;
constexpr int kThreads = 256;

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
