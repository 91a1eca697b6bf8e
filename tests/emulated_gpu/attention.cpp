// Attention of a GPU, and the blocks of a ring put together, by the operators of kernels/cpu.
#include "kernels/backend/gpu/attention.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/ops.hpp"
#include "kernels/ring_ops.hpp"
#include "topology/check.hpp"

namespace tw::gpu {
namespace {

bf16* half(void* at) {
  return static_cast<bf16*>(at);
}
const bf16* half(const void* at) {
  return static_cast<const bf16*>(at);
}

// Rows x heads <-> heads x rows.
std::vector<float> turned(const float* from, std::int64_t outer, std::int64_t inner) {
  std::vector<float> out(static_cast<std::size_t>(outer * inner));
  for (std::int64_t i = 0; i < outer * inner; ++i)
    out[static_cast<std::size_t>(i % inner * outer + i / inner)] = from[i];
  return out;
}

void narrow_rows(const std::vector<float>& from, std::int64_t width, std::int64_t stride, bf16* to) {
  for (std::size_t i = 0; i < from.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    to[at / width * stride + at % width] = static_cast<bf16>(from[i]);
  }
}

}  // namespace

Dnn::Dnn(Stream) {}
Dnn::~Dnn() = default;

struct AttentionKernel::Plan {
  AttentionCall call;
  std::vector<std::int32_t> queries, keys, sequence;
};
AttentionKernel::AttentionKernel(const Dnn&, const AttentionCall& call) : plan_(std::make_unique<Plan>()) {
  AttentionCall& c = plan_->call = call;
  TW_CHECK(c.stride > 0);
  if (c.kv_length == 0) c.kv_length = c.length;
  if (c.kv_stride == 0) c.kv_stride = c.stride;
  if (c.sequence == 0) c.sequence = c.length;
  TW_CHECK(!c.causal || c.kv_length == c.length);
  plan_->keys.resize(static_cast<std::size_t>(c.kv_length));
  std::iota(plan_->keys.begin(), plan_->keys.end(), 0);
  plan_->queries.assign(static_cast<std::size_t>(c.length), static_cast<std::int32_t>(c.kv_length));
  if (c.causal) plan_->queries = plan_->keys;
  plan_->sequence.assign(static_cast<std::size_t>(std::max(c.length, c.kv_length)), 0);
}
AttentionKernel::~AttentionKernel() = default;

// A sequence after the other.
void AttentionKernel::run(const AttentionPointers& at) const {
  const AttentionCall& c = plan_->call;
  const std::int64_t width = c.heads * c.head_dim, kv_width = c.kv_heads * c.head_dim, rows = c.length;
  const cpu::HeadShape shape{c.heads, c.kv_heads, c.head_dim};
  const cpu::TokenRows queries{rows, plan_->queries.data(), plan_->sequence.data()};
  const cpu::TokenRows keys{c.kv_length, plan_->keys.data(), plan_->sequence.data()};
  for (std::int64_t b = 0; b < c.batch; ++b) {
    const auto of = [&](void* data, std::int64_t stride) { return half(data) + b * c.sequence * stride; };
    const cpu::AttentionBlock<bf16> block{shape,
                                          queries,
                                          keys,
                                          {of(at.q, c.stride), c.stride},
                                          {of(at.k, c.kv_stride), c.kv_stride},
                                          {of(at.v, c.kv_stride), c.kv_stride}};
    float* sums = static_cast<float*>(at.log_sum_exp) + b * rows * c.heads;
    if (!c.backward) {
      std::vector<float> state(static_cast<std::size_t>(rows * (width + 2 * c.heads)));
      std::vector<float> by_row(static_cast<std::size_t>(rows * c.heads));
      const cpu::AttentionState<float> parts{state.data(), state.data() + rows * c.heads,
                                             state.data() + 2 * rows * c.heads};
      cpu::Attention<bf16>::start(shape, rows, parts);
      cpu::Attention<bf16>::block(block, parts);
      cpu::Attention<bf16>::finish(shape, rows, parts, {of(at.out, width), width}, by_row.data());
      std::ranges::copy(turned(by_row.data(), rows, c.heads), sums);
      continue;
    }
    const std::vector<float> by_row = turned(sums, c.heads, rows);
    std::vector<float> dots(by_row.size()), dq(static_cast<std::size_t>(rows * width)),
        dk(static_cast<std::size_t>(c.kv_length * kv_width)), dv(dk.size());
    cpu::Attention<bf16>::row_dots(shape, rows, {of(at.out, width), width}, {of(at.dout, width), width},
                                   dots.data());
    cpu::Attention<bf16>::backward(block, {{of(at.dout, width), width}, by_row.data(), dots.data()},
                                   {{dq.data(), width}, {dk.data(), kv_width}, {dv.data(), kv_width}});
    narrow_rows(dq, width, c.stride, of(at.dq, c.stride));
    narrow_rows(dk, kv_width, c.kv_stride, of(at.dk, c.kv_stride));
    narrow_rows(dv, kv_width, c.kv_stride, of(at.dv, c.kv_stride));
  }
}

namespace {

struct FoldCell {
  std::int64_t of_all, of_block, vector;  // of_block: -1: not the block's
};

template <class Body>
void for_each_cell(const FoldSize& size, const Body& body) {
  for (std::int64_t b = 0; b < size.batch; ++b) {
    for (std::int64_t h = 0; h < size.heads; ++h) {
      for (std::int64_t i = 0; i < size.length; ++i) {
        const std::int64_t head = b * size.heads + h, inside = i - size.first;
        const bool both = inside >= 0 && inside < size.count;
        body(FoldCell{head * size.length + i, both ? head * size.count + inside : -1,
                      ((b * size.length + i) * size.heads + h) * size.head_dim});
      }
    }
  }
}

}  // namespace

void fold_attention(FoldSize size, const FoldBlock& block, const FoldState& state, Stream) {
  for_each_cell(size, [&](const FoldCell& cell) {
    if (cell.of_block < 0) return;
    float& own = state.log_sum_exp[cell.of_all];
    const float other = block.log_sum_exp[cell.of_block], larger = std::max(own, other);
    const float all = larger + std::log(std::exp(own - larger) + std::exp(other - larger));
    for (std::int64_t i = cell.vector; i < cell.vector + size.head_dim; ++i)
      state.out[i] =
          state.out[i] * std::exp(own - all) + static_cast<float>(half(block.out)[i]) * std::exp(other - all);
    own = all;
  });
}
void finish_attention(FoldSize size, const FoldBlock& block, const FoldState& state, void* out,
                      float* log_sum_exp, Stream stream) {
  fold_attention(size, block, state, stream);
  for_each_cell(size, [&](const FoldCell& cell) {
    log_sum_exp[cell.of_all] = state.log_sum_exp[cell.of_all];
    for (std::int64_t i = cell.vector; i < cell.vector + size.head_dim; ++i)
      half(out)[i] = static_cast<bf16>(state.out[i]);
  });
}
void copy_rows(RowParts size, const void* from, void* to, Stream) {
  for (std::int64_t row = 0; row < size.rows; ++row)
    std::copy_n(static_cast<const char*>(from) + row * size.from_stride, size.width,
                static_cast<char*>(to) + row * size.to_stride);
}
void add_rows(RowSums size, const void* from, float* to, Stream) {
  for (std::int64_t row = 0; row < size.sequences * size.rows; ++row) {
    const std::int64_t at = row / size.rows * size.length + row % size.rows;
    for (std::int64_t i = 0; i < size.width; ++i)
      to[at * size.to_stride + i] += static_cast<float>(half(from)[at * size.from_stride + i]);
  }
}

}  // namespace tw::gpu
