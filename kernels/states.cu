// What the states of weights need: first values, sums over runs of elements, clipping and AdamW.
#include <cuda_bf16.h>

#include "kernels/training_ops.hpp"
#include "kernels/vectors.cuh"

namespace tw::gpu {
namespace {

using Bf16 = __nv_bfloat16;
constexpr int kThreads = 256;

__global__ void add_floats(const float* x, float* y, std::int64_t fours) {
  for (std::int64_t i = thread_of_all(); i < fours; i += all_threads()) {
    const Quad a = load4(x, i);
    Quad b = load4(y, i);
    for (int j = 0; j < 4; ++j) b.v[j] += a.v[j];
    store4(y, i, b);
  }
}

// Blocks in y share the runs, blocks in x each one's elements.
template <class Body>
__global__ void each_of_runs(ElementRuns runs, Body body) {
  for (std::int64_t r = blockIdx.y; r < runs.count; r += gridDim.y) {
    const ElementRun run = runs.at[r];
    for (std::int64_t i = thread_of_all(); i < run.count; i += all_threads()) body(run, i);
  }
}

// A few long runs, or many short ones.
dim3 grid_of(std::int64_t runs) {
  const std::int64_t down = runs < 1 ? 1 : runs < 16384 ? runs : 16384, along = kMaxBlocks / down;
  return {static_cast<unsigned>(along < 1 ? 1 : along), static_cast<unsigned>(down), 1};
}

__device__ void philox(std::uint32_t (&c)[4], std::uint32_t k0, std::uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53U} * c[0], b = std::uint64_t{0xCD9E8D57U} * c[2];
    const std::uint32_t next[4] = {
        static_cast<std::uint32_t>(b >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(b),
        static_cast<std::uint32_t>(a >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(a)};
    for (int i = 0; i < 4; ++i) c[i] = next[i];
    k0 += 0x9E3779B9U, k1 += 0xBB67AE85U;
  }
}

__device__ double unit_of(std::uint32_t a, std::uint32_t b) {
  return static_cast<double>(((std::uint64_t{a} << 32) | b) >> 11) * 0x1p-53;
}

__device__ double normal_value(InitialKey key, std::uint64_t element) {
  std::uint32_t c[4] = {static_cast<std::uint32_t>(element), static_cast<std::uint32_t>(element >> 32),
                        static_cast<std::uint32_t>(key.weight), static_cast<std::uint32_t>(key.weight >> 32)};
  philox(c, static_cast<std::uint32_t>(key.seed), static_cast<std::uint32_t>(key.seed >> 32));
  return sqrt(-2 * log(1 - unit_of(c[0], c[1]))) * cospi(2 * unit_of(c[2], c[3]));
}

// Of fours that lie on 16 bytes; the squares of a few neighbours are added up in fp32.
__device__ double squares_of_fours(const float* x, std::int64_t fours) {
  constexpr int kAtOnce = 4;
  double squares = 0;
  for (std::int64_t i = thread_of_all(); i < fours; i += kAtOnce * all_threads()) {
    Quad in[kAtOnce];
#pragma unroll
    for (int o = 0; o < kAtOnce; ++o) {
      const std::int64_t at = i + o * all_threads();
      in[o] = at < fours ? load4(x, at) : Quad{};
    }
    float some = 0;
#pragma unroll
    for (int o = 0; o < kAtOnce; ++o) {
      for (int j = 0; j < 4; ++j) some += in[o].v[j] * in[o].v[j];
    }
    squares += static_cast<double>(some);
  }
  return squares;
}

__global__ void squares_of_runs(ElementRuns runs, const float* x, double* sum) {
  double squares = 0;
  for (std::int64_t r = blockIdx.y; r < runs.count; r += gridDim.y) {
    const ElementRun run = runs.at[r];
    if (run.local % 4 == 0 && run.count % 4 == 0) {
      squares += squares_of_fours(x + run.local, run.count / 4);
      continue;
    }
    for (std::int64_t i = thread_of_all(); i < run.count; i += all_threads()) {
      const auto e = static_cast<double>(x[run.local + i]);
      squares += e * e;
    }
  }
  __shared__ double parts[kThreads / 32];
  squares = warp_sum(squares);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = squares;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  squares = warp_sum(threadIdx.x < kThreads / 32 ? parts[threadIdx.x] : 0.0);
  if (threadIdx.x == 0 && squares != 0) atomicAdd(sum, squares);
}

__global__ void pack_runs(SharedRuns runs, const float* x, float* pack) {
  for (std::int64_t r = blockIdx.y; r < runs.count; r += gridDim.y) {
    const SharedRun run = runs.at[r];
    for (std::int64_t i = thread_of_all(); i < run.count; i += all_threads())
      pack[run.packed + i] = x[run.local + i];
  }
}

__global__ void sum_runs(SharedRuns runs, const float* all, float* x) {
  for (std::int64_t r = blockIdx.y; r < runs.count; r += gridDim.y) {
    const SharedRun run = runs.at[r];
    for (std::int64_t i = thread_of_all(); i < run.count; i += all_threads()) {
      float sum = 0;
      for (std::int64_t s = run.first; s < run.first + run.sharers; ++s)
        sum += all[s * runs.packed + run.packed + i];
      x[run.local + i] = sum;
    }
  }
}

__global__ void factor_of(const double* squares, double limit, float* factor) {
  const double norm = sqrt(*squares);
  *factor = limit > 0 && norm > limit ? static_cast<float>(limit / norm) : 1.0f;
}

// factor: null for 1.
__global__ void adamw_fours(AdamWStep step, const float* factor, AdamWRange at) {
  const float scale = factor == nullptr ? 1.0f : *factor;
  auto* weight = static_cast<Bf16*>(at.weight);
  for (std::int64_t i = thread_of_all(); i < at.count / 4; i += all_threads()) {
    const Quad g = load4(at.gradient, i);
    Quad w = load4(at.master, i), m = load4(at.first, i), v = load4(at.second, i);
    for (int j = 0; j < 4; ++j) {
      const float gradient = g.v[j] * scale;
      m.v[j] = step.beta1 * m.v[j] + (1 - step.beta1) * gradient;
      v.v[j] = step.beta2 * v.v[j] + (1 - step.beta2) * gradient * gradient;
      const float update = m.v[j] / step.correction1 / (sqrtf(v.v[j] / step.correction2) + step.epsilon);
      w.v[j] -= step.learning_rate * (update + step.weight_decay * w.v[j]);
    }
    store4(at.master, i, w), store4(at.first, i, m), store4(at.second, i, v), store4(weight, i, w);
  }
}

}  // namespace

void add_fp32(const float* x, float* y, std::int64_t count, Stream stream) {
  add_floats<<<blocks_for(count / 4, kThreads), kThreads, 0, stream>>>(x, y, count / 4);
  launched("add_fp32");
}

void initial_normal(InitialKey key, const ElementRuns& runs, float* out, Stream stream) {
  each_of_runs<<<grid_of(runs.count), kThreads, 0, stream>>>(
      runs, [=] __device__(const ElementRun& run, std::int64_t i) {
        out[run.local + i] =
            static_cast<float>(key.deviation * normal_value(key, static_cast<std::uint64_t>(run.global + i)));
      });
  launched("initial_normal");
}

void fill_fp32(const ElementRuns& runs, float value, float* out, Stream stream) {
  each_of_runs<<<grid_of(runs.count), kThreads, 0, stream>>>(
      runs, [=] __device__(const ElementRun& run, std::int64_t i) { out[run.local + i] = value; });
  launched("fill_fp32");
}

void sum_of_squares(const ElementRuns& runs, const float* x, double* sum, Stream stream) {
  squares_of_runs<<<grid_of(runs.count), kThreads, 0, stream>>>(runs, x, sum);
  launched("sum_of_squares");
}

void pack_shared(const SharedRuns& runs, const float* x, float* pack, Stream stream) {
  pack_runs<<<grid_of(runs.count), kThreads, 0, stream>>>(runs, x, pack);
  launched("pack_shared");
}

void sum_shared(const SharedRuns& runs, const float* all, float* x, Stream stream) {
  sum_runs<<<grid_of(runs.count), kThreads, 0, stream>>>(runs, all, x);
  launched("sum_shared");
}

void clip_factor(const double* squares, double limit, float* factor, Stream stream) {
  factor_of<<<1, 1, 0, stream>>>(squares, limit, factor);
  launched("clip_factor");
}

void adamw_clipped(AdamWStep step, const float* factor, const AdamWRange& range, Stream stream) {
  adamw_fours<<<blocks_for(range.count / 4, kThreads), kThreads, 0, stream>>>(step, factor, range);
  launched("adamw_clipped");
}

void adamw(AdamWStep step, const AdamWRange& range, Stream stream) {
  adamw_fours<<<blocks_for(range.count / 4, kThreads), kThreads, 0, stream>>>(step, nullptr, range);
  launched("adamw");
}

}  // namespace tw::gpu
