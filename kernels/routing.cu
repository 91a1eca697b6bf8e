// The choice of experts, the order of routes, and rows on their way to experts and back.
#include <cuda_bf16.h>

#include "kernels/routing_ops.hpp"
#include "kernels/vectors.cuh"

namespace tw::gpu {
namespace {

using Bf16 = __nv_bfloat16;
constexpr int kThreads = 256, kOrderThreads = 1024, kMostChosen = 16;

__device__ int lane() {
  return static_cast<int>(threadIdx.x) % 32;
}

// The largest of a warp's values, ties to the lower index.
__device__ void best_of_warp(float& value, int& index) {
  for (int offset = 16; offset > 0; offset /= 2) {
    const float other = __shfl_xor_sync(0xffffffffU, value, offset);
    const int at = __shfl_xor_sync(0xffffffffU, index, offset);
    if (other > value || (other == value && at < index)) value = other, index = at;
  }
}

// A warp per row; the choice is by logits, since probabilities may round to ties.
__global__ void route_rows(RouterSize size, const Bf16* logits, RouterChoice choice) {
  for (std::int64_t row = thread_of_all() / 32; row < size.rows; row += all_threads() / 32) {
    const Bf16* own = logits + row * size.experts;
    float* p = choice.probabilities + row * size.experts;
    float most = -INFINITY, sum = 0;
    for (std::int64_t e = lane(); e < size.experts; e += 32) most = fmaxf(most, __bfloat162float(own[e]));
    most = warp_max(most);
    for (std::int64_t e = lane(); e < size.experts; e += 32) sum += expf(__bfloat162float(own[e]) - most);
    sum = warp_sum(sum);
    for (std::int64_t e = lane(); e < size.experts; e += 32)
      p[e] = expf(__bfloat162float(own[e]) - most) / sum;
    int chosen[kMostChosen];
    float taken = 0;
    for (int k = 0; k < size.top_k; ++k) {
      float best = -INFINITY;
      int at = 1 << 30;
      for (std::int64_t e = lane(); e < size.experts; e += 32) {
        bool free = true;
        for (int j = 0; j < k; ++j) free = free && chosen[j] != static_cast<int>(e);
        const float value = __bfloat162float(own[e]);
        if (free && (value > best || (value == best && e < at))) best = value, at = static_cast<int>(e);
      }
      best_of_warp(best, at);
      chosen[k] = at;
      taken += expf(best - most) / sum;
    }
    if (lane() != 0) continue;
    for (int k = 0; k < size.top_k; ++k) {
      choice.experts[row * size.top_k + k] = chosen[k];
      const float weight = expf(__bfloat162float(own[chosen[k]]) - most) / sum;
      choice.weights[row * size.top_k + k] = size.renormalise ? weight / taken : weight;
    }
  }
}

// dp of the chosen: (dweight - mean) / sum, as kernels/cpu/router.cpp derives it.
__global__ void route_gradients(RouterSize size, RouterChoice choice, const float* dweights,
                                RouterBalance balance, Bf16* dlogits) {
  for (std::int64_t row = thread_of_all() / 32; row < size.rows; row += all_threads() / 32) {
    const float* p = choice.probabilities + row * size.experts;
    const std::int64_t first = row * size.top_k;
    float mean = 0, sum = 1;
    if (size.renormalise) {
      sum = 0;
      for (int k = 0; k < size.top_k; ++k) {
        mean += dweights[first + k] * choice.weights[first + k];
        sum += p[choice.experts[first + k]];
      }
    }
    const float* fractions =
        balance.slope == 0 ? nullptr : balance.fractions + balance.sequences[row] * size.experts;
    const auto dp = [&](std::int64_t e) {
      float d = fractions == nullptr ? 0.0f : balance.slope * fractions[e];
      for (int k = 0; k < size.top_k; ++k) {
        if (choice.experts[first + k] == e) d += (dweights[first + k] - mean) / sum;
      }
      return d;
    };
    float dot = 0;
    for (std::int64_t e = lane(); e < size.experts; e += 32) dot += dp(e) * p[e];
    dot = warp_sum(dot);
    for (std::int64_t e = lane(); e < size.experts; e += 32)
      dlogits[row * size.experts + e] = __float2bfloat16(p[e] * (dp(e) - dot));
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

// Sum over the threads before this one, and over all of the block.
__device__ int2 block_prefix(int x) {
  __shared__ int of_warps[32];
  int sum = x;
  for (int offset = 1; offset < 32; offset *= 2) {
    const int other = __shfl_up_sync(0xffffffffU, sum, offset);
    if (lane() >= offset) sum += other;
  }
  const int warp = static_cast<int>(threadIdx.x) / 32;
  if (lane() == 31) of_warps[warp] = sum;
  __syncthreads();
  int before = sum - x, all = 0;
  for (int w = 0; w < static_cast<int>(blockDim.x) / 32; ++w) {
    before += w < warp ? of_warps[w] : 0;
    all += of_warps[w];
  }
  __syncthreads();
  return {before, all};
}

// A block per expert. A thread looks through neighbouring routes: first for how many are this expert's, and
// how many of those that come before it, then to place its own in order.
__global__ void place_routes(RouterSize size, RouterChoice choice, RouteOrder order) {
  const auto expert = static_cast<std::int32_t>(blockIdx.x);
  const std::int64_t all = size.rows * size.top_k, share = (all + blockDim.x - 1) / blockDim.x;
  const std::int64_t first = threadIdx.x * share, end = first + share < all ? first + share : all;
  int own = 0, less = 0;
  for (std::int64_t r = first; r < end; ++r) {
    const std::int32_t e = choice.experts[r];
    own += e == expert, less += e < expert;
  }
  const int2 mine = block_prefix(own);
  const int before = block_prefix(less).y;
  if (threadIdx.x == 0) order.counts[expert] = mine.y;
  std::int32_t at = before + mine.x;
  for (std::int64_t r = first; r < end; ++r) {
    if (choice.experts[r] != expert) continue;
    order.route[at] = static_cast<std::int32_t>(r);
    order.token[at] = static_cast<std::int32_t>(r / size.top_k);
    order.place[r] = at;
    order.factor[at++] = choice.weights[r];
  }
}

__global__ void sum_of_routes(TokenSum size, const std::int32_t* place, const Bf16* in, Bf16* out) {
  const std::int64_t packs = size.width / kPack, all = size.tokens * packs;
  for (std::int64_t i = thread_of_all(); i < all; i += all_threads()) {
    const std::int64_t token = i / packs, col = i % packs;
    Pack8 sum = {};
    for (std::int64_t k = 0; k < size.top_k; ++k) {
      const Pack8 p = load8(in, place[token * size.top_k + k] * packs + col);
      for (int j = 0; j < kPack; ++j) sum.v[j] += p.v[j];
    }
    store8(out, i, sum);
  }
}

__global__ void gather_floats(std::int64_t count, const std::int32_t* index, const float* in, float* out) {
  for (std::int64_t i = thread_of_all(); i < count; i += all_threads()) out[i] = in[index[i]];
}

// As many as travel with a launch: of memory of the host every block would read them over the bus.
constexpr int kMoves = 256;
struct Moves {
  std::int32_t count;
  std::int32_t first[kMoves + 1];  // of all rows that are moved, the first of each block; the last: how many
  std::int32_t from[kMoves], to[kMoves];
};

// A warp per row.
__global__ void move_each(const __grid_constant__ Moves moves, std::int64_t words, MovedRows at) {
  const auto* in = static_cast<const uint4*>(at.in);
  auto* out = static_cast<uint4*>(at.out);
  const std::int64_t rows = moves.first[moves.count];
  for (std::int64_t row = thread_of_all() / 32; row < rows; row += all_threads() / 32) {
    int low = 0, high = moves.count;  // the last block that begins at or before the row
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (moves.first[middle] <= row ? low : high) = middle;
    }
    const std::int64_t inside = row - moves.first[low];
    const std::int64_t from = moves.from[low] + inside, to = moves.to[low] + inside;
    for (std::int64_t i = lane(); i < words; i += 32) out[to * words + i] = in[from * words + i];
    if (at.values_in != nullptr && lane() == 0) at.values_out[to] = at.values_in[from];
  }
}

__device__ float sigmoid(float x) {
  return 1.0f / (1.0f + __expf(-x));
}

__global__ void swiglu_fwd(RoutedSwiglu size, const Bf16* gate_up, const float* factor, Bf16* act) {
  const std::int64_t packs = size.width / kPack, all = size.rows * packs;
  for (std::int64_t i = thread_of_all(); i < all; i += all_threads()) {
    const std::int64_t row = i / packs, col = i % packs;
    const Pack8 gate = load8(gate_up, 2 * row * packs + col),
                up = load8(gate_up, (2 * row + 1) * packs + col);
    Pack8 out;
    for (int j = 0; j < kPack; ++j) out.v[j] = gate.v[j] * sigmoid(gate.v[j]) * up.v[j] * factor[row];
    store8(act, i, out);
  }
}

// A block per row, for the sum over it.
__global__ void swiglu_bwd(RoutedSwiglu size, RoutedSwigluBackward at) {
  const std::int64_t packs = size.width / kPack;
  const auto *gate_up = static_cast<const Bf16*>(at.gate_up), *dact = static_cast<const Bf16*>(at.dact);
  auto* dgate_up = static_cast<Bf16*>(at.dgate_up);
  for (std::int64_t row = blockIdx.x; row < size.rows; row += gridDim.x) {
    const float factor = at.factor[row];
    float dots = 0;
    for (std::int64_t col = threadIdx.x; col < packs; col += blockDim.x) {
      const std::int64_t at_gate = 2 * row * packs + col, at_up = (2 * row + 1) * packs + col;
      const Pack8 gate = load8(gate_up, at_gate), up = load8(gate_up, at_up),
                  d = load8(dact, row * packs + col);
      Pack8 dgate, dup;
      for (int j = 0; j < kPack; ++j) {
        const float s = sigmoid(gate.v[j]), silu = gate.v[j] * s, g = d.v[j] * factor;
        dots += d.v[j] * silu * up.v[j];
        dup.v[j] = g * silu;
        dgate.v[j] = g * up.v[j] * (s + silu * (1 - s));
      }
      store8(dgate_up, at_gate, dgate), store8(dgate_up, at_up, dup);
    }
    const float whole = block_sum(dots);
    if (threadIdx.x == 0) at.dfactor[row] = whole;
  }
}

}  // namespace

void router_forward(RouterSize size, const void* logits, const RouterChoice& choice, Stream stream) {
  route_rows<<<blocks_for(size.rows * 32, kThreads), kThreads, 0, stream>>>(
      size, static_cast<const Bf16*>(logits), choice);
  launched("router_forward");
}

void router_backward(RouterSize size, const RouterChoice& choice, const float* dweights,
                     const RouterBalance& balance, void* dlogits, Stream stream) {
  route_gradients<<<blocks_for(size.rows * 32, kThreads), kThreads, 0, stream>>>(
      size, choice, dweights, balance, static_cast<Bf16*>(dlogits));
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

void order_routes(RouterSize size, const RouterChoice& choice, const RouteOrder& order, Stream stream) {
  place_routes<<<static_cast<unsigned>(size.experts), kOrderThreads, 0, stream>>>(size, choice, order);
  launched("order_routes");
}

void sum_routes(TokenSum size, const std::int32_t* place, const void* in, void* out, Stream stream) {
  sum_of_routes<<<blocks_for(size.tokens * size.width / kPack, kThreads), kThreads, 0, stream>>>(
      size, place, static_cast<const Bf16*>(in), static_cast<Bf16*>(out));
  launched("sum_routes");
}

void gather_fp32(std::int64_t count, const std::int32_t* index, const float* in, float* out, Stream stream) {
  gather_floats<<<blocks_for(count, kThreads), kThreads, 0, stream>>>(count, index, in, out);
  launched("gather_fp32");
}

void move_rows(const RowMoves& moves, const MovedRows& at, Stream stream) {
  for (std::int64_t done = 0; done < moves.count; done += kMoves) {
    Moves some{};
    some.count = static_cast<std::int32_t>(moves.count - done < kMoves ? moves.count - done : kMoves);
    for (int i = 0; i < some.count; ++i) {
      const RowBlockMove& move = moves.at[done + i];
      some.from[i] = static_cast<std::int32_t>(move.from), some.to[i] = static_cast<std::int32_t>(move.to);
      some.first[i + 1] = some.first[i] + static_cast<std::int32_t>(move.rows);
    }
    const std::int64_t rows = some.first[some.count];
    move_each<<<blocks_for(rows * 32, kThreads), kThreads, 0, stream>>>(some, moves.bytes / 16, at);
    launched("move_rows");
  }
}

void routed_swiglu_forward(RoutedSwiglu size, const void* gate_up, const float* factor, void* act,
                           Stream stream) {
  if (size.rows == 0) return;
  swiglu_fwd<<<blocks_for(size.rows * size.width / kPack, kThreads), kThreads, 0, stream>>>(
      size, static_cast<const Bf16*>(gate_up), factor, static_cast<Bf16*>(act));
  launched("routed_swiglu_forward");
}

void routed_swiglu_backward(RoutedSwiglu size, const RoutedSwigluBackward& at, Stream stream) {
  if (size.rows == 0) return;
  const std::int64_t blocks = size.rows < kMaxBlocks * 4 ? size.rows : kMaxBlocks * 4;
  swiglu_bwd<<<static_cast<unsigned>(blocks), 128, 0, stream>>>(size, at);
  launched("routed_swiglu_backward");
}

}  // namespace tw::gpu
