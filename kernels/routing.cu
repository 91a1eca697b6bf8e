// The order of routes, and rows on their way to experts and back.
#include <cuda_bf16.h>

#include "kernels/routing_ops.hpp"
#include "kernels/vectors.cuh"

namespace tw::gpu {
namespace {

using Bf16 = __nv_bfloat16;
constexpr int kThreads = 256, kOrderThreads = 1024, kSwigluThreads = 128;
constexpr std::int64_t kWarpWidth = 2048;  // of rows that a warp has to itself
constexpr unsigned kWarp = 0xffffffffU;

__device__ int lane() {
  return static_cast<int>(threadIdx.x) % 32;
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

// Experts of four neighbouring routes; behind the last one's, none.
__device__ int4 experts_of(const std::int32_t* experts, int first, int all) {
  if (first + 4 <= all) return *reinterpret_cast<const int4*>(experts + first);
  const auto at = [&](int r) { return r < all ? experts[r] : 1 << 30; };
  return {at(first), at(first + 1), at(first + 2), at(first + 3)};
}

// A block per expert, and each of its warps looks through a part of all routes, a lane at four neighbours at
// a time: first for how many are this expert's, and how many of experts before it, then to place its own.
__global__ void __launch_bounds__(kOrderThreads)
    place_routes(RouterSize size, RouterChoice choice, RouteOrder order) {
  constexpr int kStep = 4 * 32, kWarps = kOrderThreads / 32;
  const int expert = static_cast<int>(blockIdx.x), chosen = static_cast<int>(size.top_k);
  const int all = static_cast<int>(size.rows) * chosen, warp = static_cast<int>(threadIdx.x) / 32;
  const int share = (all + kStep * kWarps - 1) / (kStep * kWarps) * kStep;
  const int begin = warp * share, end = begin + share < all ? begin + share : all;
  int own = 0, less = 0;
#pragma unroll 4
  for (int r = begin + 4 * lane(); r < end; r += kStep) {
    const int4 e = experts_of(choice.experts, r, all);
    own += (e.x == expert) + (e.y == expert) + (e.z == expert) + (e.w == expert);
    less += (e.x < expert) + (e.y < expert) + (e.z < expert) + (e.w < expert);
  }
  const int2 mine = block_prefix(own);
  const int before = block_prefix(less).y;
  if (threadIdx.x == 0) order.counts[expert] = mine.y;
  int at = before + __shfl_sync(kWarp, mine.x, 0);  // of the warp's first
  const unsigned earlier = (1U << lane()) - 1;
#pragma unroll 4
  for (int first = begin; first < end; first += kStep) {
    const int r = first + 4 * lane();
    const int4 e = experts_of(choice.experts, r, all);
    const bool is[4] = {e.x == expert, e.y == expert, e.z == expert, e.w == expert};
    int to = at;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const unsigned votes = __ballot_sync(kWarp, is[j]);
      to += __popc(votes & earlier), at += __popc(votes);
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (!is[j]) continue;
      order.place[r + j] = to;
      order.factor[to++] = choice.weights[r + j];
    }
  }
}

// A block per token: each pack is read once.
__global__ void __launch_bounds__(kThreads)
    spread(TokenSum size, const std::int32_t* place, const uint4* in, uint4* out) {
  const int packs = static_cast<int>(size.width / kPack), chosen = static_cast<int>(size.top_k);
  const std::int64_t token = blockIdx.x;
  const std::int32_t* places = place + token * chosen;
  for (int col = threadIdx.x; col < packs; col += blockDim.x) {
    const uint4 pack = in[token * packs + col];
    for (int k = 0; k < chosen; ++k) out[std::int64_t{places[k]} * packs + col] = pack;
  }
}

// A block per token; a thread has kAtOnce of its routes' packs on their way at once, as many as divide top_k.
template <int kAtOnce>
__global__ void __launch_bounds__(kThreads)
    sum_of_routes(TokenSum size, const std::int32_t* place, const Bf16* in, Bf16* out) {
  const int packs = static_cast<int>(size.width / kPack), chosen = static_cast<int>(size.top_k);
  const std::int64_t token = blockIdx.x;
  const std::int32_t* places = place + token * chosen;
  for (int col = threadIdx.x; col < packs; col += blockDim.x) {
    Pack8 sum = {};
    for (int first = 0; first < chosen; first += kAtOnce) {
      uint4 some[kAtOnce];
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k)
        some[k] = reinterpret_cast<const uint4*>(in)[std::int64_t{places[first + k]} * packs + col];
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) {
        const Pack8 p = widened(some[k]);
#pragma unroll
        for (int j = 0; j < kPack; ++j) sum.v[j] += p.v[j];
      }
    }
    store8(out, token * packs + col, sum);
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

// A warp per row, or a block where rows are wide, for the sum over it.
template <bool kWarps>
__global__ void __launch_bounds__(kSwigluThreads) swiglu_bwd(RoutedSwiglu size, RoutedSwigluBackward at) {
  constexpr int kTeam = kWarps ? 32 : kSwigluThreads;
  const int packs = static_cast<int>(size.width / kPack), member = static_cast<int>(threadIdx.x) % kTeam;
  const auto *gate_up = static_cast<const Bf16*>(at.gate_up), *dact = static_cast<const Bf16*>(at.dact);
  auto* dgate_up = static_cast<Bf16*>(at.dgate_up);
  for (std::int64_t row = thread_of_all() / kTeam; row < size.rows; row += all_threads() / kTeam) {
    const float factor = at.factor[row];
    float dots = 0;
#pragma unroll 2
    for (int col = member; col < packs; col += kTeam) {
      const std::int64_t at_gate = 2 * row * packs + col, at_up = at_gate + packs;
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
    const float whole = kWarps ? warp_sum(dots) : block_sum(dots);
    if (member == 0) at.dfactor[row] = whole;
  }
}

}  // namespace

void order_routes(RouterSize size, const RouterChoice& choice, const RouteOrder& order, Stream stream) {
  if (size.rows * size.top_k >= std::int64_t{1} << 31)
    throw std::runtime_error("more routes than the kernel of their order can number");
  place_routes<<<static_cast<unsigned>(size.experts), kOrderThreads, 0, stream>>>(size, choice, order);
  launched("order_routes");
}

namespace {
unsigned threads_of_token(std::int64_t packs) {
  return static_cast<unsigned>(packs < kThreads ? (packs + 31) / 32 * 32 : kThreads);
}
}  // namespace

void spread_rows(TokenSum size, const std::int32_t* place, const void* in, void* out, Stream stream) {
  if (size.tokens == 0) return;
  spread<<<static_cast<unsigned>(size.tokens), threads_of_token(size.width / kPack), 0, stream>>>(
      size, place, static_cast<const uint4*>(in), static_cast<uint4*>(out));
  launched("spread_rows");
}

void sum_routes(TokenSum size, const std::int32_t* place, const void* in, void* out, Stream stream) {
  if (size.tokens == 0) return;
  const unsigned threads = threads_of_token(size.width / kPack);
  const auto run = [&](auto kernel) {
    kernel<<<static_cast<unsigned>(size.tokens), threads, 0, stream>>>(
        size, place, static_cast<const Bf16*>(in), static_cast<Bf16*>(out));
  };
  const std::int64_t k = size.top_k;
  k % 8 == 0   ? run(sum_of_routes<8>)
  : k % 4 == 0 ? run(sum_of_routes<4>)
  : k % 2 == 0 ? run(sum_of_routes<2>)
               : run(sum_of_routes<1>);
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
  const bool warps = size.width <= kWarpWidth;
  const std::int64_t rows = warps ? kSwigluThreads / 32 : 1;
  const auto blocks = static_cast<unsigned>((size.rows + rows - 1) / rows);
  warps ? swiglu_bwd<true><<<blocks, kSwigluThreads, 0, stream>>>(size, at)
        : swiglu_bwd<false><<<blocks, kSwigluThreads, 0, stream>>>(size, at);
  launched("routed_swiglu_backward");
}

}  // namespace tw::gpu
