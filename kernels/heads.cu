// Norms and rotary positions of heads, and heads cut over ranks.
#include <cuda_bf16.h>

#include "kernels/training_ops.hpp"
#include "kernels/vectors.cuh"

namespace tw::gpu {
namespace {

using Bf16 = __nv_bfloat16;
constexpr int kThreads = 256;
constexpr unsigned kHeadBlocks = 132 * 6;  // each adds to the weight's gradient once

// A vector has one lane for each pack, rounded up to a power of two: a warp works on several at once.
struct HeadLanes {
  int lanes;                 // of a vector
  int lane;                  // this thread's among them
  bool active;               // has a pack
  std::int64_t first, step;  // vector of this thread, and to its next
};

__device__ HeadLanes lanes_of(const HeadNormSize& size) {
  const int packs = static_cast<int>(size.width) / kPack;
  int lanes = 1;
  while (lanes < packs) lanes *= 2;
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  return {lanes, lane, lane < packs, thread_of_all() / lanes, all_threads() / lanes};
}

__device__ float sum_over(float x, int lanes) {
  for (int offset = lanes / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffU, x, offset);
  return x;
}

// In packs.
__device__ std::int64_t vector_at(const HeadNormSize& size, std::int64_t v) {
  return (v / size.heads * size.stride + size.column + v % size.heads * size.width) / kPack;
}

// All threads of a warp go round equally often, the last of them without a vector.
__device__ std::int64_t rounds_of(const HeadNormSize& size, const HeadLanes& l) {
  return (size.rows * size.heads + l.step - 1) / l.step;
}

__global__ void head_norm_fwd(HeadNormSize size, const Bf16* weight, Bf16* x) {
  const HeadLanes l = lanes_of(size);
  const std::int64_t vectors = size.rows * size.heads, rounds = rounds_of(size, l);
  const Pack8 w = l.active ? load8(weight, l.lane) : Pack8{};
  for (std::int64_t round = 0, v = l.first; round < rounds; ++round, v += l.step) {
    const bool mine = l.active && v < vectors;
    const std::int64_t at = mine ? vector_at(size, v) + l.lane : 0;
    Pack8 in = mine ? load8(x, at) : Pack8{};
    float squares = 0;
    for (int j = 0; j < kPack; ++j) squares += in.v[j] * in.v[j];
    const float scale = rsqrtf(sum_over(squares, l.lanes) / static_cast<float>(size.width) + size.epsilon);
    if (!mine) continue;
    for (int j = 0; j < kPack; ++j) in.v[j] *= scale * w.v[j];
    store8(x, at, in);
  }
}

// Over the threads of a block that have the same packs of their vectors, in the first of them.
__device__ Pack8 sum_of_block(Pack8 own, const HeadLanes& l) {
  __shared__ Pack8 of_threads[kThreads];
  __syncthreads();
  of_threads[threadIdx.x] = own;
  __syncthreads();
  if (static_cast<int>(threadIdx.x) >= l.lanes) return own;
  for (int t = static_cast<int>(threadIdx.x) + l.lanes; t < kThreads; t += l.lanes) {
    for (int j = 0; j < kPack; ++j) own.v[j] += of_threads[t].v[j];
  }
  return own;
}

// Gradients of the weight are added up in registers, then over the block, and once to memory.
__global__ void __launch_bounds__(kThreads) head_norm_bwd(HeadNormSize size, HeadNormBackward b) {
  const HeadLanes l = lanes_of(size);
  const std::int64_t vectors = size.rows * size.heads, rounds = rounds_of(size, l);
  const auto *weight = static_cast<const Bf16*>(b.weight), *x = static_cast<const Bf16*>(b.x);
  auto* dy = static_cast<Bf16*>(b.dy);
  const float mean = 1.0f / static_cast<float>(size.width);
  const Pack8 w = l.active ? load8(weight, l.lane) : Pack8{};
  Pack8 dweight = {};
  for (std::int64_t round = 0, v = l.first; round < rounds; ++round, v += l.step) {
    const bool mine = l.active && v < vectors;
    const std::int64_t at = mine ? vector_at(size, v) + l.lane : 0;
    const Pack8 in = mine ? load8(x, at) : Pack8{}, g = mine ? load8(dy, at) : Pack8{};
    float squares = 0, dots = 0;
    for (int j = 0; j < kPack; ++j) squares += in.v[j] * in.v[j], dots += in.v[j] * g.v[j] * w.v[j];
    const float scale = rsqrtf(sum_over(squares, l.lanes) * mean + size.epsilon);
    const float share = sum_over(dots, l.lanes) * mean * scale * scale;
    if (!mine) continue;
    Pack8 out;
    for (int j = 0; j < kPack; ++j) {
      out.v[j] = scale * (w.v[j] * g.v[j] - in.v[j] * share);
      dweight.v[j] += g.v[j] * in.v[j] * scale;
    }
    store8(dy, at, out);
  }
  const Pack8 sum = sum_of_block(dweight, l);
  if (static_cast<int>(threadIdx.x) < l.lanes && l.active) add8(b.dweight, l.lane, sum);
}

// The other half of each pair that a lane's pack is of.
struct Turn {
  bool high;    // this one is the second half
  int partner;  // lane of the warp with the other
};
__device__ Turn turn_of(int packs, const HeadLanes& l) {
  const int half = packs / 2, base = static_cast<int>(threadIdx.x) % 32 - l.lane;
  const bool high = l.lane >= half;
  return {high, base + (high ? l.lane - half : l.lane + half) % l.lanes};
}

__device__ Pack8 turned(const Pack8& own, const Turn& turn, const Pack8& c, const Pack8& s) {
  Pack8 out;
  for (int j = 0; j < kPack; ++j) {
    const float other = __shfl_sync(0xffffffffU, own.v[j], turn.partner);
    out.v[j] = own.v[j] * c.v[j] + (turn.high ? other : -other) * s.v[j];
  }
  return out;
}

// What all heads of a block's rows share, of the row's angles the lane's pack.
struct NormRopeLane {
  HeadLanes l;
  int packs, heads, group, groups;  // of a head; of a row; heads that the block has at once
  Turn turn;
  Pack8 cosines, sines;
};

__device__ NormRopeLane norm_rope_lane(const NormRopeSize& size) {
  NormRopeLane out;
  out.l = lanes_of(HeadNormSize{size.rows, 0, size.head_dim, 0, 0, 0});
  out.packs = static_cast<int>(size.head_dim) / kPack;
  out.heads = static_cast<int>(size.heads + 2 * size.kv_heads);
  out.group = static_cast<int>(threadIdx.x) / out.l.lanes, out.groups = kThreads / out.l.lanes;
  out.turn = turn_of(out.packs, out.l);
  return out;
}

__device__ void load_angles(NormRopeLane& lane, const NormRopeSize& size, const Angles& angles,
                            std::int64_t row) {
  const int half = lane.packs / 2;
  const std::int64_t at = row % size.length * half + lane.l.lane % half;
  lane.cosines = lane.l.active ? load8(angles.cosines, at) : Pack8{};
  lane.sines = lane.l.active ? load8(angles.sines, at) : Pack8{};
}

// A block per row, some heads at a time.
__global__ void __launch_bounds__(kThreads)
    norm_rope_fwd(NormRopeSize size, const Bf16* x, const Bf16* weight, Angles angles, Bf16* y) {
  NormRopeLane lane = norm_rope_lane(size);
  const HeadLanes& l = lane.l;
  for (std::int64_t row = blockIdx.x; row < size.rows; row += gridDim.x) {
    load_angles(lane, size, angles, row);
    for (int base = 0; base < lane.heads; base += lane.groups) {
      const int head = base + lane.group;
      const bool mine = l.active && head < lane.heads;
      const std::int64_t at = (row * lane.heads + head) * lane.packs + l.lane;
      const Pack8 in = mine ? load8(x, at) : Pack8{};
      float squares = 0;
      for (int j = 0; j < kPack; ++j) squares += in.v[j] * in.v[j];
      const float scale =
          rsqrtf(sum_over(squares, l.lanes) / static_cast<float>(size.head_dim) + size.epsilon);
      Pack8 normed;
      const Pack8 w = mine ? load8(weight, l.lane + (head < size.heads ? 0 : lane.packs)) : Pack8{};
      for (int j = 0; j < kPack; ++j) normed.v[j] = in.v[j] * scale * w.v[j];
      const Pack8 out = turned(normed, lane.turn, lane.cosines, lane.sines);
      const bool turns = head < size.heads + size.kv_heads;
      if (mine && turns) store8(y, at, out);
      if (mine && !turns) store8(y, at, in);
    }
  }
}

__global__ void __launch_bounds__(kThreads)
    norm_rope_bwd(NormRopeSize size, NormRopeBackward b, Angles angles) {
  NormRopeLane lane = norm_rope_lane(size);
  const HeadLanes& l = lane.l;
  const auto *x = static_cast<const Bf16*>(b.x), *dy = static_cast<const Bf16*>(b.dy),
             *weight = static_cast<const Bf16*>(b.weight);
  auto* dx = static_cast<Bf16*>(b.dx);
  const float mean = 1.0f / static_cast<float>(size.head_dim);
  Pack8 dqueries = {}, dkeys = {};
  for (std::int64_t row = blockIdx.x; row < size.rows; row += gridDim.x) {
    load_angles(lane, size, angles, row);
    for (int base = 0; base < lane.heads; base += lane.groups) {
      const int head = base + lane.group;
      const bool mine = l.active && head < lane.heads, key = head >= size.heads;
      const bool turns = mine && head < size.heads + size.kv_heads;
      const std::int64_t at = (row * lane.heads + head) * lane.packs + l.lane;
      const Pack8 upstream = mine ? load8(dy, at) : Pack8{}, in = turns ? load8(x, at) : Pack8{};
      const Pack8 w = turns ? load8(weight, l.lane + (key ? lane.packs : 0)) : Pack8{};
      const Pack8 g = turned(upstream, lane.turn, lane.cosines, lane.sines);
      float squares = 0, dots = 0;
      for (int j = 0; j < kPack; ++j) {
        squares += in.v[j] * in.v[j], dots += in.v[j] * g.v[j] * w.v[j];
      }
      const float scale = rsqrtf(sum_over(squares, l.lanes) * mean + size.epsilon);
      const float share = sum_over(dots, l.lanes) * mean * scale * scale;
      Pack8 out = upstream;
      if (turns) {
        for (int j = 0; j < kPack; ++j) {
          out.v[j] = scale * (w.v[j] * g.v[j] - in.v[j] * share);
          const float more = g.v[j] * in.v[j] * scale;
          dqueries.v[j] += key ? 0.0f : more, dkeys.v[j] += key ? more : 0.0f;
        }
      }
      if (mine) store8(dx, at, out);
    }
  }
  const bool adds = static_cast<int>(threadIdx.x) < l.lanes && l.active;
  const Pack8 of_queries = sum_of_block(dqueries, l);
  if (adds) add8(b.dweight, l.lane, of_queries);
  const Pack8 of_keys = sum_of_block(dkeys, l);
  if (adds) add8(b.dweight, lane.packs + l.lane, of_keys);
}

// Pack i of the rows, and where it lies among the parts.
__device__ std::int64_t place_in_parts(const HeadSplit& s, std::int64_t i, std::int64_t packs) {
  const std::int64_t row = i / packs, sequence = row / s.length, token = row % s.length;
  std::int64_t column = i % packs, inside = 0, piece = 0;
  for (int n = 0; n < HeadSplit::kSections; ++n) {
    const std::int64_t section = s.section[n] / kPack;
    piece = section / s.ranks;
    if (column < section) break;
    column -= section, inside += piece;
  }
  const std::int64_t rank = column / piece;
  return ((sequence * s.ranks + rank) * s.length + token) * (packs / s.ranks) + inside + column % piece;
}

template <bool kSplit>
__global__ void regroup_heads(HeadSplit s, std::int64_t packs, const uint4* from, uint4* to) {
  const std::int64_t all = s.sequences * s.length * packs;
  for (std::int64_t i = thread_of_all(); i < all; i += all_threads()) {
    const std::int64_t part = place_in_parts(s, i, packs);
    kSplit ? to[part] = from[i] : to[i] = from[part];
  }
}

}  // namespace

void head_norm_forward(HeadNormSize size, const void* weight, void* x, Stream stream) {
  head_norm_fwd<<<blocks_for(size.rows * size.heads * size.width / kPack, kThreads), kThreads, 0, stream>>>(
      size, static_cast<const Bf16*>(weight), static_cast<Bf16*>(x));
  launched("head_norm_forward");
}

void head_norm_backward(HeadNormSize size, const HeadNormBackward& at, Stream stream) {
  const unsigned wanted = blocks_for(size.rows * size.heads * size.width / kPack, kThreads),
                 blocks = wanted < kHeadBlocks ? wanted : kHeadBlocks;
  head_norm_bwd<<<blocks, kThreads, 0, stream>>>(size, at);
  launched("head_norm_backward");
}

void norm_rope_forward(const NormRopeSize& size, const void* x, const void* weight, Angles angles, void* y,
                       Stream stream) {
  norm_rope_fwd<<<blocks_for(size.rows, 1), kThreads, 0, stream>>>(
      size, static_cast<const Bf16*>(x), static_cast<const Bf16*>(weight), angles, static_cast<Bf16*>(y));
  launched("norm_rope_forward");
}

void norm_rope_backward(const NormRopeSize& size, const NormRopeBackward& at, Angles angles, Stream stream) {
  const unsigned wanted = blocks_for(size.rows, 1), blocks = wanted < kHeadBlocks ? wanted : kHeadBlocks;
  norm_rope_bwd<<<blocks, kThreads, 0, stream>>>(size, at, angles);
  launched("norm_rope_backward");
}

namespace {
template <bool kSplit>
void regroup(const HeadSplit& s, const void* from, void* to, Stream stream) {
  std::int64_t packs = 0;
  for (const std::int64_t section : s.section) packs += section / kPack;
  regroup_heads<kSplit><<<blocks_for(s.sequences * s.length * packs, kThreads), kThreads, 0, stream>>>(
      s, packs, static_cast<const uint4*>(from), static_cast<uint4*>(to));
  launched("regroup_heads");
}
}  // namespace

void split_heads(const HeadSplit& size, const void* rows, void* parts, Stream stream) {
  regroup<true>(size, rows, parts, stream);
}

void join_heads(const HeadSplit& size, const void* parts, void* rows, Stream stream) {
  regroup<false>(size, parts, rows, stream);
}

}  // namespace tw::gpu
