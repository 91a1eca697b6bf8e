// Eight elements at a time, in fp32 registers.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace tw::gpu {

constexpr int kPack = 8;
constexpr std::int64_t kMaxBlocks = 132 * 16;  // enough to fill any GPU of today; the rest by stride

// After each launch: a configuration that the GPU refuses is an error here, not at some later call.
inline void launched(const char* kernel) {
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) throw std::runtime_error(std::string(kernel) + ": " + cudaGetErrorString(error));
}

// Blocks whose threads go over `items` by stride.
inline unsigned blocks_for(std::int64_t items, int threads) {
  const std::int64_t blocks = (items + threads - 1) / threads;
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks < kMaxBlocks ? blocks : kMaxBlocks);
}
__device__ inline std::int64_t thread_of_all() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline std::int64_t all_threads() {
  return static_cast<std::int64_t>(gridDim.x) * blockDim.x;
}

struct Pack8 {
  float v[kPack];
};

__device__ inline Pack8 widened(const uint4& raw) {
  const auto* pairs = reinterpret_cast<const __nv_bfloat162*>(&raw);
  Pack8 p;
#pragma unroll
  for (int j = 0; j < kPack / 2; ++j) {
    const float2 pair = __bfloat1622float2(pairs[j]);
    p.v[2 * j] = pair.x, p.v[2 * j + 1] = pair.y;
  }
  return p;
}
// i counts packs.
__device__ inline Pack8 load8(const __nv_bfloat16* from, std::int64_t i) {
  return widened(reinterpret_cast<const uint4*>(from)[i]);
}
__device__ inline Pack8 load8(const float* from, std::int64_t i) {
  const auto* quads = reinterpret_cast<const float4*>(from) + 2 * i;
  const float4 a = quads[0], b = quads[1];
  return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
}
__device__ inline void store8(__nv_bfloat16* to, std::int64_t i, const Pack8& p) {
  uint4 raw;
  auto* pairs = reinterpret_cast<__nv_bfloat162*>(&raw);
#pragma unroll
  for (int j = 0; j < kPack / 2; ++j) pairs[j] = __floats2bfloat162_rn(p.v[2 * j], p.v[2 * j + 1]);
  reinterpret_cast<uint4*>(to)[i] = raw;
}
__device__ inline void store8(float* to, std::int64_t i, const Pack8& p) {
  auto* quads = reinterpret_cast<float4*>(to) + 2 * i;
  quads[0] = {p.v[0], p.v[1], p.v[2], p.v[3]};
  quads[1] = {p.v[4], p.v[5], p.v[6], p.v[7]};
}

// Four elements at a time, where fp32 is written: lanes of a warp then fill whole sectors at once. i counts
// fours.
struct Quad {
  float v[4];
};
__device__ inline Quad load4(const float* from, std::int64_t i) {
  const float4 a = reinterpret_cast<const float4*>(from)[i];
  return {{a.x, a.y, a.z, a.w}};
}
__device__ inline Quad load4(const __nv_bfloat16* from, std::int64_t i) {
  const uint2 raw = reinterpret_cast<const uint2*>(from)[i];
  const auto* pairs = reinterpret_cast<const __nv_bfloat162*>(&raw);
  const float2 a = __bfloat1622float2(pairs[0]), b = __bfloat1622float2(pairs[1]);
  return {{a.x, a.y, b.x, b.y}};
}
__device__ inline void store4(float* to, std::int64_t i, const Quad& p) {
  reinterpret_cast<float4*>(to)[i] = {p.v[0], p.v[1], p.v[2], p.v[3]};
}
__device__ inline void store4(__nv_bfloat16* to, std::int64_t i, const Quad& p) {
  uint2 raw;
  auto* pairs = reinterpret_cast<__nv_bfloat162*>(&raw);
  pairs[0] = __floats2bfloat162_rn(p.v[0], p.v[1]), pairs[1] = __floats2bfloat162_rn(p.v[2], p.v[3]);
  reinterpret_cast<uint2*>(to)[i] = raw;
}

// Added to what others add to at the same time; four at once where the GPU can.
__device__ inline void add8(float* to, std::int64_t i, const Pack8& p) {
#if __CUDA_ARCH__ >= 900
  auto* quads = reinterpret_cast<float4*>(to) + 2 * i;
  atomicAdd(quads, float4{p.v[0], p.v[1], p.v[2], p.v[3]});
  atomicAdd(quads + 1, float4{p.v[4], p.v[5], p.v[6], p.v[7]});
#else
  for (int j = 0; j < kPack; ++j) atomicAdd(to + i * kPack + j, p.v[j]);
#endif
}

template <class Float>
__device__ inline Float warp_sum(Float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffU, x, offset);
  return x;
}
__device__ inline float warp_max(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffU, x, offset));
  return x;
}

// Of a whole block of up to 1024 threads, in every thread.
template <class Warp>
__device__ inline float block_reduced(float x, float neutral, Warp warp) {
  __shared__ float parts[32];
  x = warp(x);
  __syncthreads();
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
  __syncthreads();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  return warp(lane < static_cast<int>(blockDim.x) / 32 ? parts[lane] : neutral);
}
__device__ inline float block_sum(float x) {
  return block_reduced(x, 0.0f, [](float y) { return warp_sum(y); });
}
__device__ inline float block_max(float x) {
  return block_reduced(x, -INFINITY, [](float y) { return warp_max(y); });
}

}  // namespace tw::gpu
