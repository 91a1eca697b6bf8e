// Memory-bound operators on flat ranges: 16-byte accesses, a grid-stride loop.
#include <cuda_bf16.h>
#include <cuda_fp8.h>

#include "kernels/device_ops.hpp"
#include "kernels/vectors.cuh"

namespace tw::gpu {
namespace {

__device__ std::uint64_t mixed(std::uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

__device__ float2 normal_pair(std::uint64_t seed, std::int64_t i) {
  const std::uint64_t bits = mixed(seed * 0x100000001b3ULL + static_cast<std::uint64_t>(i));
  const float u = (static_cast<float>(bits >> 40) + 0.5f) * 0x1p-24f;
  const float v = static_cast<float>(bits & 0xffffffU) * 0x1p-24f;
  const float radius = sqrtf(-2.0f * logf(u));
  return {radius * cospif(2 * v), radius * sinpif(2 * v)};
}

// Applies `make` to each pack of 8 elements: its index in packs.
template <class Body>
__global__ void each_pack(std::int64_t packs, Body body) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < packs;
       i += step)
    body(i);
}

template <class Body>
void for_packs(std::int64_t count, Stream stream, Body body, int pack = kPack) {
  constexpr int kThreads = 256;
  const std::int64_t packs = count / pack;
  const std::int64_t blocks = (packs + kThreads - 1) / kThreads;
  each_pack<<<static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks), kThreads, 0, stream>>>(packs,
                                                                                                       body);
}

__global__ void transpose_fp8(const __nv_bfloat16* in, __nv_fp8_e4m3* out, std::int64_t rows,
                              std::int64_t cols, float factor) {
  __shared__ __nv_fp8_e4m3 tile[64][64 + 4];
  const std::int64_t row0 = static_cast<std::int64_t>(blockIdx.y) * 64,
                     col0 = static_cast<std::int64_t>(blockIdx.x) * 64;
  for (int i = threadIdx.x; i < 64 * 8; i += blockDim.x) {  // a pack of 8 columns of one row
    const int r = i / 8, c = i % 8 * 8;
    if (row0 + r >= rows || col0 + c >= cols) continue;
    const Pack8 p = load8(in, ((row0 + r) * cols + col0 + c) / kPack);
    for (int j = 0; j < kPack; ++j) tile[c + j][r] = __nv_fp8_e4m3(p.v[j] * factor);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < 64 * 16; i += blockDim.x) {  // 4 rows of one column
    const int c = i / 16, r = i % 16 * 4;
    if (row0 + r >= rows || col0 + c >= cols) continue;
    *reinterpret_cast<std::uint32_t*>(out + (col0 + c) * rows + row0 + r) =
        *reinterpret_cast<const std::uint32_t*>(&tile[c][r]);
  }
}

__global__ void empty_kernel() {}

}  // namespace

void fill_normal(void* out, std::int64_t count, float scale, std::uint64_t seed, Stream stream) {
  auto* to = static_cast<__nv_bfloat16*>(out);
  for_packs(count, stream, [=] __device__(std::int64_t i) {
    Pack8 p;
    for (int j = 0; j < kPack; j += 2) {
      const float2 pair = normal_pair(seed, i * kPack + j);
      p.v[j] = pair.x * scale, p.v[j + 1] = pair.y * scale;
    }
    store8(to, i, p);
  });
  launched("fill_normal");
}

void fill_normal_fp32(float* out, std::int64_t count, float scale, std::uint64_t seed, Stream stream) {
  for_packs(count, stream, [=] __device__(std::int64_t i) {
    for (int j = 0; j < kPack; j += 2) {
      const float2 pair = normal_pair(seed, i * kPack + j);
      reinterpret_cast<float2*>(out)[i * kPack / 2 + j / 2] = {pair.x * scale, pair.y * scale};
    }
  });
  launched("fill_normal_fp32");
}

void copy_elements(const void* in, void* out, std::int64_t count, Stream stream) {
  const auto* from = static_cast<const uint4*>(in);
  auto* to = static_cast<uint4*>(out);
  for_packs(count, stream, [=] __device__(std::int64_t i) { to[i] = from[i]; });
  launched("copy_elements");
}

void add(const void* a, const void* b, void* out, std::int64_t count, Stream stream) {
  const auto *x = static_cast<const __nv_bfloat16*>(a), *y = static_cast<const __nv_bfloat16*>(b);
  auto* to = static_cast<__nv_bfloat16*>(out);
  for_packs(count, stream, [=] __device__(std::int64_t i) {
    Pack8 p = load8(x, i);
    const Pack8 q = load8(y, i);
    for (int j = 0; j < kPack; ++j) p.v[j] += q.v[j];
    store8(to, i, p);
  });
  launched("add");
}

void widen(const void* in, float* out, std::int64_t count, Stream stream) {
  const auto* from = static_cast<const __nv_bfloat16*>(in);
  for_packs(
      count, stream, [=] __device__(std::int64_t i) { store4(out, i, load4(from, i)); }, 4);
  launched("widen");
}

void narrow(const float* in, void* out, std::int64_t count, Stream stream) {
  auto* to = static_cast<__nv_bfloat16*>(out);
  for_packs(count, stream, [=] __device__(std::int64_t i) { store8(to, i, load8(in, i)); });
  launched("narrow");
}

void cast_fp8(const void* in, void* out, std::int64_t count, float factor, Stream stream) {
  const auto* from = static_cast<const __nv_bfloat16*>(in);
  auto* to = static_cast<uint2*>(out);
  for_packs(count, stream, [=] __device__(std::int64_t i) {
    const Pack8 p = load8(from, i);
    union {
      __nv_fp8_e4m3 e[kPack];
      uint2 all;
    } packed;
    for (int j = 0; j < kPack; ++j) packed.e[j] = __nv_fp8_e4m3(p.v[j] * factor);
    to[i] = packed.all;
  });
  launched("cast_fp8");
}

void cast_fp8_transposed(const void* in, void* out, std::int64_t rows, std::int64_t cols, float factor,
                         Stream stream) {
  const dim3 grid(static_cast<unsigned>((cols + 63) / 64), static_cast<unsigned>((rows + 63) / 64));
  transpose_fp8<<<grid, 256, 0, stream>>>(static_cast<const __nv_bfloat16*>(in),
                                          static_cast<__nv_fp8_e4m3*>(out), rows, cols, factor);
  launched("cast_fp8_transposed");
}

void nothing(Stream stream) {
  empty_kernel<<<1, 32, 0, stream>>>();
  launched("nothing");
}

}  // namespace tw::gpu
