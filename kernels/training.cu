// Scores of a vocabulary part, embedding tables, and norms.
#include <cuda_bf16.h>

#include "kernels/training_ops.hpp"
#include "kernels/vectors.cuh"

namespace tw::gpu {
namespace {

using Bf16 = __nv_bfloat16;
constexpr int kThreads = 256;

// Entries of pack i that are no padding.
__device__ int real_in(std::int64_t i, std::int64_t real) {
  const std::int64_t left = real - i * kPack;
  return left >= kPack ? kPack : left < 0 ? 0 : static_cast<int>(left);
}

// One pass: maximum and sum together (online softmax).
__global__ void score_rows(VocabularyPart part, const std::int32_t* targets, const Bf16* logits,
                           float* parts) {
  const std::int64_t packs = part.count / kPack, row = static_cast<std::int64_t>(blockIdx.x) * packs;
  float most = -INFINITY, sum = 0;
  for (std::int64_t i = threadIdx.x; i < packs; i += blockDim.x) {
    const int real = real_in(i, part.real);
    if (real == 0) break;
    const Pack8 p = load8(logits, row + i);
    float larger = most;
    for (int j = 0; j < kPack; ++j) {
      if (j < real) larger = fmaxf(larger, p.v[j]);
    }
    sum *= __expf(most - larger);
    for (int j = 0; j < kPack; ++j) {
      if (j < real) sum += __expf(p.v[j] - larger);
    }
    most = larger;
  }
  const float top = block_max(most);
  const float whole = block_sum(most == -INFINITY ? 0.0f : sum * __expf(most - top));
  if (threadIdx.x != 0) return;
  const std::int64_t target = targets[blockIdx.x] - part.first;
  float* out = parts + 3 * static_cast<std::int64_t>(blockIdx.x);
  out[0] = top, out[1] = whole;
  out[2] = target >= 0 && target < part.real ? __bfloat162float(logits[row * kPack + target]) : 0.0f;
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

__global__ void score_gradients(VocabularyPart part, ScoredRows at, float scale, Bf16* logits) {
  const std::int64_t packs = part.count / kPack, row = static_cast<std::int64_t>(blockIdx.x) * packs;
  const float* own = at.parts + 3 * static_cast<std::int64_t>(blockIdx.x);
  const float top = own[0], share = scale / own[1];
  const std::int64_t target = at.targets[blockIdx.x] - part.first;
  for (std::int64_t i = threadIdx.x; i < packs; i += blockDim.x) {
    const int real = real_in(i, part.real);
    Pack8 p = load8(logits, row + i);
    for (int j = 0; j < kPack; ++j) {
      p.v[j] = j < real ? __expf(p.v[j] - top) * share : 0.0f;
      if (j < real && i * kPack + j == target) p.v[j] -= scale;
    }
    store8(logits, row + i, p);
  }
}

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

// A vector of a packed row, a lane for each of its packs.
struct NormRopeLane {
  std::int64_t at, angle;  // packs
  bool active, turns, key, high;
  int partner;  // lane of the warp with the other half of each pair
};

__device__ NormRopeLane norm_rope_lane(const NormRopeSize& size, const HeadLanes& l, std::int64_t v) {
  const int packs = static_cast<int>(size.head_dim) / kPack, half = packs / 2;
  const std::int64_t heads = size.heads + 2 * size.kv_heads, row = v / heads, head = v % heads;
  NormRopeLane out;
  out.active = l.active && row < size.rows;
  out.at = out.active ? v * packs + l.lane : 0;
  out.turns = head < size.heads + size.kv_heads, out.key = head >= size.heads;
  out.high = l.lane >= half;
  out.angle = out.active ? row % size.length * half + l.lane % half : 0;
  const int base = static_cast<int>(threadIdx.x) % 32 - l.lane;
  out.partner = base + (out.high ? l.lane - half : l.lane + half) % l.lanes;
  return out;
}

__device__ Pack8 turned(const Pack8& own, const NormRopeLane& lane, const Angles& angles) {
  const Pack8 c = load8(angles.cosines, lane.angle), s = load8(angles.sines, lane.angle);
  Pack8 out;
  for (int j = 0; j < kPack; ++j) {
    const float other = __shfl_sync(0xffffffffU, own.v[j], lane.partner);
    out.v[j] = own.v[j] * c.v[j] + (lane.high ? other : -other) * s.v[j];
  }
  return out;
}

__device__ HeadLanes lanes_of(const NormRopeSize& size) {
  return lanes_of(HeadNormSize{size.rows, 0, size.head_dim, 0, 0, 0});
}

__global__ void norm_rope_fwd(NormRopeSize size, const Bf16* x, const Bf16* weight, Angles angles, Bf16* y) {
  const HeadLanes l = lanes_of(size);
  const std::int64_t vectors = size.rows * (size.heads + 2 * size.kv_heads);
  for (std::int64_t v = l.first; __any_sync(0xffffffffU, v < vectors); v += l.step) {
    const NormRopeLane lane = norm_rope_lane(size, l, v);
    Pack8 in = lane.active ? load8(x, lane.at) : Pack8{};
    const Pack8 w = lane.active ? load8(weight, l.lane + (lane.key ? size.head_dim / kPack : 0)) : Pack8{};
    float squares = 0;
    for (int j = 0; j < kPack; ++j) squares += in.v[j] * in.v[j];
    const float scale = rsqrtf(sum_over(squares, l.lanes) / static_cast<float>(size.head_dim) + size.epsilon);
    Pack8 normed;
    for (int j = 0; j < kPack; ++j) normed.v[j] = in.v[j] * scale * w.v[j];
    const Pack8 out = turned(normed, lane, angles);
    if (lane.active) store8(y, lane.at, lane.turns ? out : in);
  }
}

__global__ void __launch_bounds__(kThreads)
    norm_rope_bwd(NormRopeSize size, NormRopeBackward b, Angles angles) {
  const HeadLanes l = lanes_of(size);
  const std::int64_t vectors = size.rows * (size.heads + 2 * size.kv_heads);
  const std::int64_t packs = size.head_dim / kPack;
  const auto *weight = static_cast<const Bf16*>(b.weight), *x = static_cast<const Bf16*>(b.x),
             *dy = static_cast<const Bf16*>(b.dy);
  auto* dx = static_cast<Bf16*>(b.dx);
  const float mean = 1.0f / static_cast<float>(size.head_dim);
  Pack8 dweight[2] = {};
  for (std::int64_t v = l.first; __any_sync(0xffffffffU, v < vectors); v += l.step) {
    const NormRopeLane lane = norm_rope_lane(size, l, v);
    const bool turns = lane.active && lane.turns;
    const Pack8 upstream = lane.active ? load8(dy, lane.at) : Pack8{},
                in = turns ? load8(x, lane.at) : Pack8{};
    const Pack8 w = turns ? load8(weight, l.lane + (lane.key ? packs : 0)) : Pack8{};
    const Pack8 g = turned(upstream, lane, angles);
    float squares = 0, dots = 0;
    for (int j = 0; j < kPack; ++j) squares += in.v[j] * in.v[j], dots += in.v[j] * g.v[j] * w.v[j];
    const float scale = rsqrtf(sum_over(squares, l.lanes) * mean + size.epsilon);
    const float share = sum_over(dots, l.lanes) * mean * scale * scale;
    Pack8 out = upstream;
    if (turns) {
      for (int j = 0; j < kPack; ++j) {
        out.v[j] = scale * (w.v[j] * g.v[j] - in.v[j] * share);
        (lane.key ? dweight[1] : dweight[0]).v[j] += g.v[j] * in.v[j] * scale;
      }
    }
    if (lane.active) store8(dx, lane.at, out);
  }
  for (int part = 0; part < 2; ++part) {
    const Pack8 sum = sum_of_block(dweight[part], l);
    if (static_cast<int>(threadIdx.x) < l.lanes && l.active) add8(b.dweight, part * packs + l.lane, sum);
  }
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

void score_forward(VocabularyPart part, const std::int32_t* targets, const void* logits, float* parts,
                   Stream stream) {
  score_rows<<<static_cast<unsigned>(part.rows), 1024, 0, stream>>>(part, targets,
                                                                    static_cast<const Bf16*>(logits), parts);
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
  score_gradients<<<static_cast<unsigned>(part.rows), 1024, 0, stream>>>(part, at, scale,
                                                                         static_cast<Bf16*>(logits));
  launched("score_backward");
}

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
  const std::int64_t packs = size.rows * (size.heads + 2 * size.kv_heads) * size.head_dim / kPack;
  norm_rope_fwd<<<blocks_for(packs, kThreads), kThreads, 0, stream>>>(
      size, static_cast<const Bf16*>(x), static_cast<const Bf16*>(weight), angles, static_cast<Bf16*>(y));
  launched("norm_rope_forward");
}

void norm_rope_backward(const NormRopeSize& size, const NormRopeBackward& at, Angles angles, Stream stream) {
  const std::int64_t packs = size.rows * (size.heads + 2 * size.kv_heads) * size.head_dim / kPack;
  const unsigned wanted = blocks_for(packs, kThreads), blocks = wanted < kHeadBlocks ? wanted : kHeadBlocks;
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
