// Blocks of attention folded into one result, and gradients that come home.
#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/ring_ops.hpp"
#include "kernels/vectors.cuh"

namespace tw::gpu {
namespace {

using Bf16 = __nv_bfloat16;
using Pair = __nv_bfloat162;
constexpr int kThreads = 256;

__device__ void store(float2* to, float2 value) {
  *to = value;
}
__device__ void store(Pair* to, float2 value) {
  *to = __floats2bfloat162_rn(value.x, value.y);
}

// A warp per query and head. Queries of the block alone where `to` is the state itself; all lanes read the
// state's log-sum-exp before the first of them writes it.
template <class To>
__global__ void fold(FoldSize size, FoldBlock block, FoldState state, To* to, float* log_sum_exp) {
  const bool whole = log_sum_exp != state.log_sum_exp;
  const std::int64_t queries = whole ? size.length : size.count, begin = whole ? 0 : size.first;
  const std::int64_t vectors = size.batch * queries * size.heads, warps = all_threads() / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32, pairs = static_cast<int>(size.head_dim) / 2;
  for (std::int64_t v = thread_of_all() / 32; v < vectors; v += warps) {
    const std::int64_t head = v % size.heads, query = begin + v / size.heads % queries,
                       batch = v / size.heads / queries;
    const std::int64_t cell = (batch * size.heads + head) * size.length + query;
    const std::int64_t vector = ((batch * size.length + query) * size.heads + head) * pairs;
    const std::int64_t inside = query - size.first;
    const bool both = inside >= 0 && inside < size.count;
    const float own = state.log_sum_exp[cell];
    const float other =
        both ? block.log_sum_exp[(batch * size.heads + head) * size.count + inside] : -INFINITY;
    const float larger = fmaxf(own, other);
    const float all = larger + logf(__expf(own - larger) + __expf(other - larger));
    const float keep = __expf(own - all), add = __expf(other - all);
    for (int p = lane; p < pairs; p += 32) {
      float2 sum = reinterpret_cast<const float2*>(state.out)[vector + p];
      sum.x *= keep, sum.y *= keep;
      if (both) {
        const float2 more = __bfloat1622float2(static_cast<const Pair*>(block.out)[vector + p]);
        sum.x += add * more.x, sum.y += add * more.y;
      }
      store(to + vector + p, sum);
    }
    __syncwarp();
    if (lane == 0) log_sum_exp[cell] = all;
  }
}

template <class To>
void run_fold(const FoldSize& size, std::int64_t queries, const FoldBlock& block, const FoldState& state,
              To* to, float* log_sum_exp, Stream stream) {
  const std::int64_t threads = size.batch * queries * size.heads * 32;
  fold<<<blocks_for(threads, kThreads), kThreads, 0, stream>>>(size, block, state, to, log_sum_exp);
}

template <class Word>
__global__ void copy_parts(RowParts size, const Word* from, Word* to) {
  constexpr auto kWord = static_cast<std::int64_t>(sizeof(Word));
  const std::int64_t words = size.width / kWord, all = size.rows * words;
  for (std::int64_t i = thread_of_all(); i < all; i += all_threads())
    to[i / words * (size.to_stride / kWord) + i % words] =
        from[i / words * (size.from_stride / kWord) + i % words];
}

__global__ void add_to_rows(RowSums size, const Bf16* from, float* to) {
  const std::int64_t packs = size.width / kPack, all = size.sequences * size.rows * packs;
  for (std::int64_t i = thread_of_all(); i < all; i += all_threads()) {
    const std::int64_t row = i / packs % size.rows + i / packs / size.rows * size.length;
    const Pack8 more = load8(from + row * size.from_stride, i % packs);
    float* at = to + row * size.to_stride;
    Pack8 sum = load8(at, i % packs);
    for (int j = 0; j < kPack; ++j) sum.v[j] += more.v[j];
    store8(at, i % packs, sum);
  }
}

}  // namespace

void fold_attention(FoldSize size, const FoldBlock& block, const FoldState& state, Stream stream) {
  if (size.count == 0) return;
  run_fold(size, size.count, block, state, reinterpret_cast<float2*>(state.out), state.log_sum_exp, stream);
  launched("fold_attention");
}

void finish_attention(FoldSize size, const FoldBlock& block, const FoldState& state, void* out,
                      float* log_sum_exp, Stream stream) {
  run_fold(size, size.length, block, state, static_cast<Pair*>(out), log_sum_exp, stream);
  launched("finish_attention");
}

void copy_rows(RowParts size, const void* from, void* to, Stream stream) {
  if (size.rows * size.width == 0) return;
  const auto run = [&](const auto* in, auto* out) {
    const auto words = size.rows * size.width / static_cast<std::int64_t>(sizeof *out);
    copy_parts<<<blocks_for(words, kThreads), kThreads, 0, stream>>>(size, in, out);
  };
  const auto even = [](std::uintptr_t n) { return n % sizeof(uint4) == 0; };
  const bool wide = even(size.width) && even(size.from_stride) && even(size.to_stride) &&
                    even(reinterpret_cast<std::uintptr_t>(from)) &&
                    even(reinterpret_cast<std::uintptr_t>(to));
  if (wide)
    run(static_cast<const uint4*>(from), static_cast<uint4*>(to));
  else
    run(static_cast<const float*>(from), static_cast<float*>(to));
  launched("copy_rows");
}

void add_rows(RowSums size, const void* from, float* to, Stream stream) {
  const std::int64_t packs = size.sequences * size.rows * size.width / kPack;
  if (packs == 0) return;
  add_to_rows<<<blocks_for(packs, kThreads), kThreads, 0, stream>>>(size, static_cast<const Bf16*>(from), to);
  launched("add_rows");
}

}  // namespace tw::gpu
