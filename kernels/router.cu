// The choice of experts and the balance of their loads. A warp has a row's experts: a lane every 32nd.
#include <cuda_bf16.h>

#include "kernels/routing_ops.hpp"
#include "kernels/vectors.cuh"

namespace tw::gpu {
namespace {

using Bf16 = __nv_bfloat16;
constexpr int kThreads = 256;
constexpr unsigned kWarp = 0xffffffffU;

__device__ int lane() {
  return static_cast<int>(threadIdx.x) % 32;
}

// A logit above its expert, as an integer that orders both: the larger logit first, then the lower index.
// The choice is by logits, since probabilities may round to ties. No key is 0.
__device__ std::uint32_t key_of(std::uint16_t logit, int expert) {
  if (logit == 0x8000) logit = 0;  // a zero is a zero
  const std::uint32_t ordered = logit & 0x8000 ? static_cast<std::uint16_t>(~logit) : logit | 0x8000U;
  return ordered << 16 | (0xffffU - static_cast<std::uint32_t>(expert));
}
__device__ float logit_of(std::uint32_t key) {
  const std::uint32_t ordered = key >> 16;
  return __uint_as_float((ordered & 0x8000 ? ordered ^ 0x8000 : ~ordered & 0xffff) << 16);
}
__device__ int expert_of(std::uint32_t key) {
  return static_cast<int>(0xffffU - (key & 0xffff));
}

template <int kOwned>
__device__ std::uint32_t largest_of(const std::uint32_t (&keys)[kOwned]) {
  std::uint32_t most = 0;
#pragma unroll
  for (int o = 0; o < kOwned; ++o) most = keys[o] > most ? keys[o] : most;
  return __reduce_max_sync(kWarp, most);
}

// Lane k writes the k-th choice.
template <int kOwned>
__global__ void __launch_bounds__(kThreads)
    route_rows(RouterSize size, const std::uint16_t* logits, RouterChoice choice) {
  const int experts = static_cast<int>(size.experts), chosen = static_cast<int>(size.top_k);
  for (std::int64_t row = thread_of_all() / 32; row < size.rows; row += all_threads() / 32) {
    const std::uint16_t* own = logits + row * experts;
    float* probabilities = choice.probabilities + row * experts;
    std::uint32_t keys[kOwned];
#pragma unroll
    for (int o = 0; o < kOwned; ++o) {
      const int e = lane() + 32 * o;
      keys[o] = e < experts ? key_of(own[e], e) : 0;
    }
    std::uint32_t best = largest_of(keys);
    const float most = logit_of(best);
    float p[kOwned], sum = 0;
#pragma unroll
    for (int o = 0; o < kOwned; ++o) {
      p[o] = keys[o] != 0 ? expf(logit_of(keys[o]) - most) : 0.0f;
      sum += p[o];
    }
    sum = warp_sum(sum);
#pragma unroll
    for (int o = 0; o < kOwned; ++o) {
      if (lane() + 32 * o < experts) probabilities[lane() + 32 * o] = p[o] / sum;
    }
    float taken = 0, weight = 0;
    int expert = 0;
    for (int k = 0; k < chosen; ++k) {
      if (k > 0) best = largest_of(keys);
      const float own_weight = expf(logit_of(best) - most) / sum;
      taken += own_weight;
      if (lane() == k) expert = expert_of(best), weight = own_weight;
#pragma unroll
      for (int o = 0; o < kOwned; ++o) keys[o] = keys[o] == best ? 0 : keys[o];
    }
    if (lane() >= chosen) continue;
    choice.experts[row * chosen + lane()] = expert;
    choice.weights[row * chosen + lane()] = size.renormalise ? weight / taken : weight;
  }
}

// dp of the chosen: (dweight - mean) / sum, as kernels/cpu/router.cpp derives it. Lane k has the k-th choice.
template <int kOwned>
__global__ void __launch_bounds__(kThreads)
    route_gradients(RouterSize size, RouterChoice choice, const float* dweights, RouterBalance balance,
                    Bf16* dlogits) {
  const int experts = static_cast<int>(size.experts), chosen = static_cast<int>(size.top_k);
  for (std::int64_t row = thread_of_all() / 32; row < size.rows; row += all_threads() / 32) {
    const float* probabilities = choice.probabilities + row * experts;
    const std::int64_t mine = row * chosen + lane();
    const bool has = lane() < chosen;
    const int expert = has ? choice.experts[mine] : -1;
    float d = has ? dweights[mine] : 0.0f;
    if (size.renormalise) {
      const float mean = warp_sum(has ? d * choice.weights[mine] : 0.0f);
      const float sum = warp_sum(has ? probabilities[expert] : 0.0f);
      d = (d - mean) / sum;
    }
    const float* fractions =
        balance.slope == 0 ? nullptr : balance.fractions + balance.sequences[row] * size.experts;
    float p[kOwned], dp[kOwned];
#pragma unroll
    for (int o = 0; o < kOwned; ++o) {
      const int e = lane() + 32 * o;
      p[o] = e < experts ? probabilities[e] : 0.0f;
      dp[o] = fractions != nullptr && e < experts ? balance.slope * fractions[e] : 0.0f;
    }
    for (int k = 0; k < chosen; ++k) {
      const int e = __shfl_sync(kWarp, expert, k);
      const float more = __shfl_sync(kWarp, d, k);
#pragma unroll
      for (int o = 0; o < kOwned; ++o) dp[o] += e == lane() + 32 * o ? more : 0.0f;
    }
    float dot = 0;
#pragma unroll
    for (int o = 0; o < kOwned; ++o) dot += dp[o] * p[o];
    dot = warp_sum(dot);
#pragma unroll
    for (int o = 0; o < kOwned; ++o) {
      const int e = lane() + 32 * o;
      if (e < experts) dlogits[row * experts + e] = __float2bfloat16(p[o] * (dp[o] - dot));
    }
  }
}

__global__ void count_each(RouterSize size, const std::int32_t* experts, const std::int32_t* sequences,
                           float* counts) {
  for (std::int64_t r = thread_of_all(); r < size.rows * size.top_k; r += all_threads())
    atomicAdd(counts + sequences[r / size.top_k] * size.experts + experts[r], 1.0f);
}

__global__ void fractions_of(FractionSize size, float* counts) {
  for (std::int64_t e = thread_of_all(); e < size.experts; e += all_threads()) {
    float sum = 0;
    for (std::int64_t s = 0; s < size.sequences; ++s) sum += counts[s * size.experts + e];
    for (std::int64_t s = 0; s < size.sequences; ++s) {
      float& count = counts[s * size.experts + e];
      count = (size.pooled ? sum / static_cast<float>(size.sequences) : count) * size.share;
    }
  }
}

__global__ void balance_losses(RouterSize size, const float* probabilities, RouterBalance balance,
                               double* loss) {
  float sum = 0;
  for (std::int64_t i = thread_of_all(); i < size.rows * size.experts; i += all_threads())
    sum += probabilities[i] *
           balance.fractions[balance.sequences[i / size.experts] * size.experts + i % size.experts];
  sum = warp_sum(sum);
  if (lane() == 0) atomicAdd(loss, static_cast<double>(balance.slope) * static_cast<double>(sum));
}

// run(std::integral_constant) of so many experts for each lane.
template <int kOwned = 1, class Run>
void with_owned(std::int64_t experts, Run run) {
  if constexpr (kOwned < 32) {
    if (experts > 32 * kOwned) return with_owned<2 * kOwned>(experts, run);
  } else if (experts > 32 * kOwned) {
    throw std::runtime_error("too many experts for the kernels of routers");
  }
  run(std::integral_constant<int, kOwned>{});
}

}  // namespace

void router_forward(RouterSize size, const void* logits, const RouterChoice& choice, Stream stream) {
  with_owned(size.experts, [&](auto owned) {
    route_rows<owned()><<<blocks_for(size.rows * 32, kThreads), kThreads, 0, stream>>>(
        size, static_cast<const std::uint16_t*>(logits), choice);
  });
  launched("router_forward");
}

void router_backward(RouterSize size, const RouterChoice& choice, const float* dweights,
                     const RouterBalance& balance, void* dlogits, Stream stream) {
  with_owned(size.experts, [&](auto owned) {
    route_gradients<owned()><<<blocks_for(size.rows * 32, kThreads), kThreads, 0, stream>>>(
        size, choice, dweights, balance, static_cast<Bf16*>(dlogits));
  });
  launched("router_backward");
}

void count_routes(RouterSize size, const std::int32_t* experts, const std::int32_t* sequences, float* counts,
                  Stream stream) {
  count_each<<<blocks_for(size.rows * size.top_k, kThreads), kThreads, 0, stream>>>(size, experts, sequences,
                                                                                    counts);
  launched("count_routes");
}

void to_fractions(FractionSize size, float* counts, Stream stream) {
  fractions_of<<<blocks_for(size.experts, kThreads), kThreads, 0, stream>>>(size, counts);
  launched("to_fractions");
}

void add_balance_loss(RouterSize size, const float* probabilities, const RouterBalance& balance, double* loss,
                      Stream stream) {
  balance_losses<<<blocks_for(size.rows * size.experts / 8, kThreads), kThreads, 0, stream>>>(
      size, probabilities, balance, loss);
  launched("add_balance_loss");
}

}  // namespace tw::gpu
