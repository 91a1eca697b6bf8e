// Operators with a reduction or a pattern per row: a block per row, or blocks that walk over rows.
#include <cuda_bf16.h>

#include "kernels/device_ops.hpp"
#include "kernels/vectors.cuh"

namespace tw::gpu {
namespace {

using Bf16 = __nv_bfloat16;

constexpr int kRowThreads = 256, kMostOwned = 8;

// Packs that each of a row's threads owns, and so many threads.
int owned_of(std::int64_t packs) {
  return static_cast<int>((packs + kRowThreads - 1) / kRowThreads);
}
int threads_for(std::int64_t packs) {
  const std::int64_t owned = owned_of(packs), whole = ((packs + owned - 1) / owned + 31) / 32 * 32;
  return static_cast<int>(whole < 64 ? 64 : whole);
}

// run(std::integral_constant) of the least that is enough.
template <int kOwned = 1, class Run>
void with_owned(std::int64_t packs, Run run) {
  if constexpr (kOwned < kMostOwned) {
    if (owned_of(packs) > kOwned) return with_owned<kOwned + 1>(packs, run);
  } else if (owned_of(packs) > kOwned) {
    throw std::runtime_error("a row is too wide for the kernels of norms");
  }
  run(std::integral_constant<int, kOwned>{});
}

// A block per row; a thread keeps kOwned packs of it between the two passes.
template <int kOwned>
__global__ void __launch_bounds__(kRowThreads)
    norm_forward(NormSize size, const Bf16* x, const Bf16* weight, Bf16* y) {
  const std::int64_t packs = size.width / kPack, row = static_cast<std::int64_t>(blockIdx.x) * packs;
  uint4 held[kOwned];
  float squares = 0;
#pragma unroll
  for (int o = 0; o < kOwned; ++o) {
    const std::int64_t i = threadIdx.x + o * static_cast<std::int64_t>(blockDim.x);
    held[o] = i < packs ? reinterpret_cast<const uint4*>(x)[row + i] : uint4{};
    const Pack8 p = widened(held[o]);
    for (int j = 0; j < kPack; ++j) squares += p.v[j] * p.v[j];
  }
  const float scale = rsqrtf(block_sum(squares) / static_cast<float>(size.width) + size.epsilon);
#pragma unroll
  for (int o = 0; o < kOwned; ++o) {
    const std::int64_t i = threadIdx.x + o * static_cast<std::int64_t>(blockDim.x);
    if (i >= packs) continue;
    Pack8 p = widened(held[o]);
    const Pack8 w = load8(weight, i);
    for (int j = 0; j < kPack; ++j) p.v[j] *= scale * w.v[j];
    store8(y, row + i, p);
  }
}

// Two sums of a team of a block at once: whole warps, which meet at a barrier of their own. Sums of one turn
// are still read while those of the next are written.
__device__ float2 team_sums(float a, float b, int team, int warps, int turn) {
  __shared__ float2 parts[2][32];
  a = warp_sum(a), b = warp_sum(b);
  const int lane = static_cast<int>(threadIdx.x) % 32, first = team * warps;
  if (lane == 0) parts[turn][threadIdx.x / 32] = {a, b};
  asm volatile("bar.sync %0, %1;" ::"r"(1 + team), "r"(32 * warps) : "memory");
  const float2 mine = lane < warps ? parts[turn][first + lane] : float2{0, 0};
  return {warp_sum(mine.x), warp_sum(mine.y)};
}

// Rows that a block works on at once: each has a warp, or a team of warps.
constexpr int kWarpRows = 8;
template <int kOwned, bool kWarps>  // what registers allow
constexpr int kBackwardThreads = kWarps        ? 32 * kWarpRows
                                 : kOwned == 1 ? 768
                                 : kOwned == 2 ? 640
                                 : kOwned == 3 ? 512
                                               : 256;

// Over the teams of a block, member by member, in the first team; whether this is it.
template <int kThreads>
__device__ bool summed_over_teams(Pack8& own, int team, int member) {
  __shared__ Pack8 parts[kThreads];
  const int members = team, teams = static_cast<int>(blockDim.x) / members;
  __syncthreads();
  parts[threadIdx.x] = own;
  __syncthreads();
  if (static_cast<int>(threadIdx.x) >= members) return false;
  for (int t = 1; t < teams; ++t) {
    for (int j = 0; j < kPack; ++j) own.v[j] += parts[t * members + member].v[j];
  }
  return true;
}

// dx = s (w dy - x s^2 mean(w dy x)), dw = sum of dy x s. A row has a warp, or a team of `members`; a thread
// owns kOwned packs of every row that comes to it, keeps their dw in registers, and reads the next row before
// it works on this one.
template <int kOwned, bool kWarps>
__global__ void __launch_bounds__(kBackwardThreads<kOwned, kWarps>, 1)
    norm_backward(NormSize size, NormBackward at, int wanted) {
  const int members = kWarps ? 32 : wanted, member = static_cast<int>(threadIdx.x) % members,
            team = static_cast<int>(threadIdx.x) / members;
  const std::int64_t teams = blockDim.x / members;
  const auto *x = static_cast<const uint4*>(at.x), *dy = static_cast<const uint4*>(at.dy);
  const auto* weight = static_cast<const Bf16*>(at.weight);
  const std::int64_t packs = size.width / kPack, step = gridDim.x * teams;
  Pack8 dw[kOwned] = {};
  uint4 next_x[kOwned], next_g[kOwned];
  const auto fetch = [&](std::int64_t r) {
#pragma unroll
    for (int o = 0; o < kOwned; ++o) {
      const std::int64_t i = member + o * static_cast<std::int64_t>(members);
      const bool mine = r < size.rows && i < packs;
      next_x[o] = mine ? x[r * packs + i] : uint4{}, next_g[o] = mine ? dy[r * packs + i] : uint4{};
    }
  };
  std::int64_t r = blockIdx.x * teams + team;
  int turn = 0;
  fetch(r);
  for (; r < size.rows; r += step, turn ^= 1) {
    uint4 held_x[kOwned], held_g[kOwned];
#pragma unroll
    for (int o = 0; o < kOwned; ++o) held_x[o] = next_x[o], held_g[o] = next_g[o];
    fetch(r + step);
    float squares = 0, dots = 0;
#pragma unroll
    for (int o = 0; o < kOwned; ++o) {
      const std::int64_t i = member + o * static_cast<std::int64_t>(members);
      if (i >= packs) continue;
      const Pack8 in = widened(held_x[o]), g = widened(held_g[o]), w = load8(weight, i);
      for (int j = 0; j < kPack; ++j) squares += in.v[j] * in.v[j], dots += g.v[j] * w.v[j] * in.v[j];
    }
    const float2 sums = kWarps ? float2{warp_sum(squares), warp_sum(dots)}
                               : team_sums(squares, dots, team, members / 32, turn);
    const float mean = 1.0f / static_cast<float>(size.width);
    const float scale = rsqrtf(sums.x * mean + size.epsilon), share = sums.y * mean * scale * scale;
#pragma unroll
    for (int o = 0; o < kOwned; ++o) {
      const std::int64_t i = member + o * static_cast<std::int64_t>(members);
      if (i >= packs) continue;
      const Pack8 in = widened(held_x[o]), g = widened(held_g[o]), w = load8(weight, i);
      Pack8 out = {};
      if (at.also != nullptr) out = load8(static_cast<const Bf16*>(at.also), r * packs + i);
      for (int j = 0; j < kPack; ++j) {
        out.v[j] += scale * (w.v[j] * g.v[j] - in.v[j] * share);
        dw[o].v[j] += g.v[j] * in.v[j] * scale;
      }
      store8(static_cast<Bf16*>(at.dx), r * packs + i, out);
    }
  }
#pragma unroll
  for (int o = 0; o < kOwned; ++o) {
    const std::int64_t i = member + o * static_cast<std::int64_t>(members);
    if (!summed_over_teams<kBackwardThreads<kOwned, kWarps>>(dw[o], members, member)) continue;
    if (i < packs) add8(at.dweight, i, dw[o]);
  }
}

__global__ void magnitude(const Bf16* in, int* bits, std::int64_t packs) {
  float most = 0;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < packs;
       i += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
    const Pack8 p = load8(in, i);
    for (int j = 0; j < kPack; ++j) most = fmaxf(most, fabsf(p.v[j]));
  }
  most = block_max(most);
  if (threadIdx.x == 0) atomicMax(bits, __float_as_int(most));
}

__device__ float sigmoid(float x) {
  return 1.0f / (1.0f + __expf(-x));
}

__global__ void swiglu_fwd(SwigluSize size, const Bf16* gate_up, Bf16* act) {
  const std::int64_t packs = size.width / kPack, all = size.rows * packs;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < all;
       i += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
    const std::int64_t row = i / packs, col = i % packs;
    const Pack8 gate = load8(gate_up, 2 * row * packs + col),
                up = load8(gate_up, (2 * row + 1) * packs + col);
    Pack8 out;
    for (int j = 0; j < kPack; ++j) out.v[j] = gate.v[j] * sigmoid(gate.v[j]) * up.v[j];
    store8(act, i, out);
  }
}

__global__ void swiglu_bwd(SwigluSize size, const Bf16* gate_up, const Bf16* dact, Bf16* dgate_up) {
  const std::int64_t packs = size.width / kPack, all = size.rows * packs;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < all;
       i += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
    const std::int64_t row = i / packs, col = i % packs;
    const std::int64_t at_gate = 2 * row * packs + col, at_up = (2 * row + 1) * packs + col;
    const Pack8 gate = load8(gate_up, at_gate), up = load8(gate_up, at_up), d = load8(dact, i);
    Pack8 dgate, dup;
    for (int j = 0; j < kPack; ++j) {
      const float s = sigmoid(gate.v[j]), silu = gate.v[j] * s;
      dup.v[j] = d.v[j] * silu;
      dgate.v[j] = d.v[j] * up.v[j] * (s + silu * (1 - s));
    }
    store8(dgate_up, at_gate, dgate), store8(dgate_up, at_up, dup);
  }
}

__global__ void rotate(RopeSize size, const float* cosines, const float* sines, Bf16* x) {
  const std::int64_t half = size.head_dim / 2 / kPack;  // packs of one half
  const std::int64_t per_row = size.heads * half, all = size.rows * per_row;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < all;
       i += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
    const std::int64_t row = i / per_row, head = i % per_row / half, pack = i % half;
    const std::int64_t low = (row * size.stride + head * size.head_dim) / kPack + pack, high = low + half;
    const std::int64_t angle = row % size.length * half + pack;
    const Pack8 c = load8(cosines, angle), s = load8(sines, angle), a = load8(x, low), b = load8(x, high);
    Pack8 first, second;
    for (int j = 0; j < kPack; ++j) {
      first.v[j] = a.v[j] * c.v[j] - b.v[j] * s.v[j];
      second.v[j] = b.v[j] * c.v[j] + a.v[j] * s.v[j];
    }
    store8(x, low, first), store8(x, high, second);
  }
}

__global__ void gather(GatherSize size, const std::int32_t* index, const uint4* in, uint4* out) {
  const std::int64_t packs = size.width / kPack, all = size.rows * packs;
  for (std::int64_t i = thread_of_all(); i < all; i += all_threads())
    out[i] = in[index[i / packs] * packs + i % packs];
}

constexpr int kThreads = 256;
unsigned blocks_for(std::int64_t packs) {
  const std::int64_t blocks = (packs + kThreads - 1) / kThreads;
  return static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks);
}

}  // namespace

void rms_norm_forward(NormSize size, const void* x, const void* weight, void* y, Stream stream) {
  const std::int64_t packs = size.width / kPack;
  with_owned(packs, [&](auto owned) {
    norm_forward<owned()><<<static_cast<unsigned>(size.rows), threads_for(packs), 0, stream>>>(
        size, static_cast<const Bf16*>(x), static_cast<const Bf16*>(weight), static_cast<Bf16*>(y));
  });
  launched("rms_norm_forward");
}

// As many blocks as the GPU has at once, and no more than there are rows for.
template <class Kernel>
unsigned resident(Kernel kernel, int threads, std::int64_t wanted) {
  int blocks = 0;
  cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, 0);
  const std::int64_t most = std::int64_t{132} * (blocks < 1 ? 1 : blocks);
  return static_cast<unsigned>(wanted < most ? wanted : most);
}

namespace {

// Teams of as many threads as a row needs, and of these as many as a block has room for: each block adds its
// sums to the weight's gradient once, so few blocks are better than many.
template <int kOwned>
void backward_in_teams(NormSize size, const NormBackward& at, Stream stream) {
  const std::int64_t packs = size.width / kPack;
  const auto members = static_cast<int>(((packs + kOwned - 1) / kOwned + 31) / 32 * 32);
  const int teams = kBackwardThreads<kOwned, false> / members, threads = teams * members;
  if (teams == 0) throw std::runtime_error("a row is too wide for the kernels of norms");
  const auto kernel = norm_backward<kOwned, false>;
  kernel<<<resident(kernel, threads, (size.rows + teams - 1) / teams), threads, 0, stream>>>(size, at,
                                                                                             members);
}

}  // namespace

void rms_norm_backward(NormSize size, const NormBackward& at, Stream stream) {
  const std::int64_t packs = size.width / kPack;
  if (packs <= 4 * 32) {
    const auto run = [&](auto kernel) {
      kernel<<<resident(kernel, 32 * kWarpRows, (size.rows + kWarpRows - 1) / kWarpRows), 32 * kWarpRows, 0,
               stream>>>(size, at, 32);
    };
    packs <= 2 * 32 ? run(norm_backward<2, true>) : run(norm_backward<4, true>);
  } else {
    packs <= 256    ? backward_in_teams<1>(size, at, stream)
    : packs <= 1024 ? backward_in_teams<2>(size, at, stream)
    : packs <= 1536 ? backward_in_teams<3>(size, at, stream)
    : packs <= 1792 ? backward_in_teams<7>(size, at, stream)
                    : backward_in_teams<8>(size, at, stream);
  }
  launched("rms_norm_backward");
}

void largest(const void* in, float* out, std::int64_t count, Stream stream) {
  magnitude<<<blocks_for(count / kPack), kThreads, 0, stream>>>(static_cast<const Bf16*>(in),
                                                                reinterpret_cast<int*>(out), count / kPack);
  launched("largest");
}

void swiglu_forward(SwigluSize size, const void* gate_up, void* act, Stream stream) {
  swiglu_fwd<<<blocks_for(size.rows * size.width / kPack), kThreads, 0, stream>>>(
      size, static_cast<const Bf16*>(gate_up), static_cast<Bf16*>(act));
  launched("swiglu_forward");
}

void swiglu_backward(SwigluSize size, const void* gate_up, const void* dact, void* dgate_up, Stream stream) {
  swiglu_bwd<<<blocks_for(size.rows * size.width / kPack), kThreads, 0, stream>>>(
      size, static_cast<const Bf16*>(gate_up), static_cast<const Bf16*>(dact), static_cast<Bf16*>(dgate_up));
  launched("swiglu_backward");
}

void rope(RopeSize size, const float* cosines, const float* sines, void* x, Stream stream) {
  rotate<<<blocks_for(size.rows * size.heads * size.head_dim / 2 / kPack), kThreads, 0, stream>>>(
      size, cosines, sines, static_cast<Bf16*>(x));
  launched("rope");
}

void gather_rows(GatherSize size, const std::int32_t* index, const void* in, void* out, Stream stream) {
  gather<<<blocks_for(size.rows * size.width / kPack), kThreads, 0, stream>>>(
      size, index, static_cast<const uint4*>(in), static_cast<uint4*>(out));
  launched("gather_rows");
}

}  // namespace tw::gpu
