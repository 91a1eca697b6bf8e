// The kernels and library calls of a GPU, by the operators of kernels/cpu.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/backend/gpu/blas.hpp"
#include "kernels/backend/gpu/gemm.hpp"
#include "kernels/grouped_ops.hpp"
#include "kernels/ops.hpp"
#include "kernels/routing_ops.hpp"
#include "kernels/training_ops.hpp"
#include "topology/check.hpp"

namespace tw::gpu {
namespace {

const bf16* half(const void* at) {
  return static_cast<const bf16*>(at);
}
bf16* half(void* at) {
  return static_cast<bf16*>(at);
}
float wide(bf16 x) {
  return static_cast<float>(x);
}

}  // namespace

Buffer::Buffer(std::int64_t bytes) : bytes_(bytes) {}
Buffer::~Buffer() = default;
Buffer::Buffer(Buffer&&) noexcept {}
Buffer& Buffer::operator=(Buffer&&) noexcept {
  return *this;
}

Blas::Blas(Stream) {}
Blas::~Blas() = default;

struct Gemm::Plan {
  GemmCall call;
};
Gemm::Gemm(const Blas&, const GemmCall& call) : plan_(std::make_unique<Plan>(Plan{call})) {}
Gemm::~Gemm() = default;
Gemm::Gemm(Gemm&&) noexcept = default;
void Gemm::run(const GemmPointers& at) const {
  const cpu::LinearSize size{plan_->call.m, plan_->call.k, plan_->call.n};
  switch (plan_->call.product) {
    case Product::forward:
      return cpu::Linear<bf16>::forward(size, half(at.left), half(at.right), half(at.out));
    case Product::dgrad:
      return cpu::Linear<bf16>::dgrad(size, half(at.left), half(at.right), half(at.out));
    case Product::wgrad:
      TW_CHECK(plan_->call.into != Into::bf16);
      if (plan_->call.into == Into::fp32) std::fill_n(static_cast<float*>(at.out), size.in * size.out, 0.0f);
      return cpu::Linear<bf16>::wgrad(size, half(at.left), half(at.right), static_cast<float*>(at.out));
  }
}

namespace {
std::vector<cpu::Segment> segments_of(const GroupedRows& rows) {
  std::vector<cpu::Segment> out;
  std::int64_t first = 0;
  for (std::int64_t g = 0; g < rows.groups; first += rows.rows[g++])
    out.push_back({g % rows.weights, first, rows.rows[g]});
  return out;
}
}  // namespace
void grouped_forward(GroupedShape s, const GroupedRows& rows, const void* x, const void* w, void* y, Stream) {
  const auto segments = segments_of(rows);
  cpu::GroupedLinear<bf16>::forward({s.k, s.n, segments}, half(x), half(w), half(y));
}
void grouped_dgrad(GroupedShape s, const GroupedRows& rows, const void* dy, const void* w, void* dx, Stream) {
  const auto segments = segments_of(rows);
  cpu::GroupedLinear<bf16>::dgrad({s.k, s.n, segments}, half(dy), half(w), half(dx));
}
void grouped_wgrad(GroupedShape s, const GroupedRows& rows, const void* dy, const void* x, float* dw, Stream,
                   Into into) {
  if (into == Into::fp32) std::fill_n(dw, rows.weights * s.n * s.k, 0.0f);
  const auto segments = segments_of(rows);
  cpu::GroupedLinear<bf16>::wgrad({s.k, s.n, segments}, half(dy), half(x), dw);
}
void grouped_swiglu(GroupedSwiglu s, const GroupedRows& rows, const void* x, const void* w,
                    const GroupedActivation& out, Stream stream) {
  grouped_forward({2 * s.width, s.k}, rows, x, w, out.gate_up, stream);
  routed_swiglu_forward({rows.total, s.width}, out.gate_up, out.factor, out.act, stream);
}

void add(const void* a, const void* b, void* out, std::int64_t count, Stream) {
  cpu::Vectors<bf16>::add(count, half(a), half(b), half(out));
}
void widen(const void* in, float* out, std::int64_t count, Stream) {
  std::transform(half(in), half(in) + count, out, wide);
}
void narrow(const float* in, void* out, std::int64_t count, Stream) {
  std::transform(in, in + count, half(out), [](float x) { return static_cast<bf16>(x); });
}
void rms_norm_forward(NormSize size, const void* x, const void* weight, void* y, Stream) {
  const cpu::NormShape shape{size.rows, 1, size.width, static_cast<double>(size.epsilon)};
  cpu::RmsNorm<bf16>::forward(shape, {half(x), size.width}, half(weight), {half(y), size.width});
}
void rms_norm_backward(NormSize size, const NormBackward& at, Stream stream) {
  const cpu::NormShape shape{size.rows, 1, size.width, static_cast<double>(size.epsilon)};
  cpu::RmsNorm<bf16>::backward(shape, {half(at.x), size.width}, half(at.weight), {half(at.dy), size.width},
                               {{half(at.dx), size.width}, at.dweight});
  if (at.also != nullptr) add(at.dx, at.also, at.dx, size.rows * size.width, stream);
}
void add_norm_forward(NormSize size, const AddNorm& at, Stream stream) {
  add(at.a, at.b, at.sum, size.rows * size.width, stream);
  rms_norm_forward(size, at.sum, at.weight, at.y, stream);
}
void swiglu_forward(SwigluSize size, const void* gate_up, void* act, Stream) {
  cpu::Swiglu<bf16>::forward({size.rows, size.width}, half(gate_up), nullptr, half(act));
}
void swiglu_backward(SwigluSize size, const void* gate_up, const void* dact, void* dgate_up, Stream) {
  cpu::Swiglu<bf16>::backward({size.rows, size.width}, half(gate_up), nullptr, half(dact),
                              {half(dgate_up), nullptr});
}
void routed_swiglu_forward(RoutedSwiglu size, const void* gate_up, const float* factor, void* act, Stream) {
  cpu::Swiglu<bf16>::forward({size.rows, size.width}, half(gate_up), factor, half(act));
}
void routed_swiglu_backward(RoutedSwiglu size, const RoutedSwigluBackward& at, Stream) {
  cpu::Swiglu<bf16>::backward({size.rows, size.width}, half(at.gate_up), at.factor, half(at.dact),
                              {half(at.dgate_up), at.dfactor});
}

namespace {
RopeSize turns_of(const NormRopeSize& s) {
  return {s.rows, s.heads + s.kv_heads, s.head_dim, (s.heads + 2 * s.kv_heads) * s.head_dim, s.length};
}
// Of q, and of k.
HeadNormSize norms_of(const NormRopeSize& s, bool key) {
  return {
      s.rows,   key ? s.kv_heads : s.heads, s.head_dim, turns_of(s).stride, key ? s.heads * s.head_dim : 0,
      s.epsilon};
}
}  // namespace
void norm_rope_forward(const NormRopeSize& size, const void* x, const void* weight, Angles angles, void* y,
                       Stream stream) {
  on_device(x, y, size.rows * turns_of(size).stride * 2, stream);
  for (const bool key : {false, true})
    head_norm_forward(norms_of(size, key), half(weight) + (key ? size.head_dim : 0), y, stream);
  rope(turns_of(size), angles.cosines, angles.sines, y, stream);
}
void norm_rope_backward(const NormRopeSize& size, const NormRopeBackward& at, Angles angles, Stream stream) {
  if (at.dx != at.dy) on_device(at.dy, at.dx, size.rows * turns_of(size).stride * 2, stream);
  rope(turns_of(size), angles.cosines, angles.sines, at.dx, stream);
  for (const bool key : {false, true}) {
    const std::int64_t part = key ? size.head_dim : 0;
    head_norm_backward(norms_of(size, key), {at.x, half(at.weight) + part, at.dx, at.dweight + part}, stream);
  }
}
void rope(RopeSize size, const float* cosines, const float* sines, void* x, Stream) {
  const std::int64_t pairs = size.head_dim / 2;
  for (std::int64_t row = 0; row < size.rows; ++row) {
    for (std::int64_t i = 0; i < size.heads * pairs; ++i) {
      bf16* low = half(x) + row * size.stride + i / pairs * size.head_dim + i % pairs;
      const std::int64_t angle = row % size.length * pairs + i % pairs;
      const float a = wide(low[0]), b = wide(low[pairs]), c = cosines[angle], s = sines[angle];
      low[0] = static_cast<bf16>(a * c - b * s), low[pairs] = static_cast<bf16>(b * c + a * s);
    }
  }
}
void gather_rows(GatherSize size, const std::int32_t* index, const void* in, void* out, Stream) {
  for (std::int64_t i = 0; i < size.rows; ++i)
    std::copy_n(half(in) + index[i] * size.width, size.width, half(out) + i * size.width);
}

// Scores.
namespace {
cpu::VocabularyRange range_of(VocabularyPart part) {
  return {part.rows, part.first, part.count, part.first + part.real};
}
cpu::SoftmaxPart<float>* parts_in(float* parts) {
  return reinterpret_cast<cpu::SoftmaxPart<float>*>(parts);
}
}  // namespace
void score_forward(VocabularyPart part, const std::int32_t* targets, const void* logits, float* parts,
                   Stream) {
  cpu::CrossEntropy<bf16>::forward(range_of(part), half(logits), targets, parts_in(parts));
}
void merge_scores(std::int64_t rows, std::int64_t ranks, const float* all, float* parts, Stream) {
  std::copy_n(all, 3 * rows, parts);
  for (std::int64_t r = 1; r < ranks; ++r) {
    std::vector<float> other(all + 3 * r * rows, all + 3 * (r + 1) * rows);
    cpu::CrossEntropy<bf16>::merge(rows, parts_in(other.data()), parts_in(parts));
  }
}
void add_loss(std::int64_t rows, const float* parts, double scale, double* loss, Stream) {
  std::vector<float> copy(parts, parts + 3 * rows), each(static_cast<std::size_t>(rows));
  cpu::CrossEntropy<bf16>::loss(rows, parts_in(copy.data()), each.data());
  for (const float one : each) *loss += scale * static_cast<double>(one);
}
void score_backward(VocabularyPart part, const ScoredRows& at, float scale, void* logits, Stream) {
  std::vector<float> copy(at.parts, at.parts + 3 * part.rows);
  cpu::CrossEntropy<bf16>::backward(range_of(part), {half(logits), at.targets, parts_in(copy.data())},
                                    static_cast<double>(scale), half(logits));
}

void score_and_gradient(VocabularyPart part, const std::int32_t* targets, float scale, void* logits,
                        float* parts, Stream stream) {
  score_forward(part, targets, logits, parts, stream);
  score_backward(part, {targets, parts}, scale, logits, stream);
}

void embedding_forward(TableSize size, const std::int32_t* tokens, const void* table, void* y, Stream) {
  cpu::Embedding<bf16>::forward({size.rows, size.width, size.first, size.count}, tokens, half(table),
                                half(y));
}
void embedding_backward(TableSize size, const std::int32_t* tokens, const void* dy, float* dtable, Stream) {
  cpu::Embedding<bf16>::backward({size.rows, size.width, size.first, size.count}, tokens, half(dy), dtable);
}
void head_norm_forward(HeadNormSize size, const void* weight, void* x, Stream) {
  const cpu::NormShape shape{size.rows, size.heads, size.width, static_cast<double>(size.epsilon)};
  bf16* at = half(x) + size.column;
  cpu::RmsNorm<bf16>::forward(shape, {at, size.stride}, half(weight), {at, size.stride});
}
void head_norm_backward(HeadNormSize size, const HeadNormBackward& b, Stream) {
  const cpu::NormShape shape{size.rows, size.heads, size.width, static_cast<double>(size.epsilon)};
  bf16* dy = half(b.dy) + size.column;
  cpu::RmsNorm<bf16>::backward(shape, {half(b.x) + size.column, size.stride}, half(b.weight),
                               {dy, size.stride}, {{dy, size.stride}, b.dweight});
}

namespace {

// By plain loops over what the header says, element by element.
template <class Move>
void each_of_heads(const HeadSplit& s, Move move) {
  std::int64_t width = 0;
  for (const std::int64_t section : s.section) width += section;
  std::int64_t part = 0;  // elements in the order of the parts
  for (std::int64_t sequence = 0; sequence < s.sequences; ++sequence) {
    for (std::int64_t rank = 0; rank < s.ranks; ++rank) {
      for (std::int64_t token = 0; token < s.length; ++token) {
        std::int64_t column = 0;
        for (const std::int64_t section : s.section) {
          const std::int64_t piece = section / s.ranks;
          for (std::int64_t i = 0; i < piece; ++i)
            move((sequence * s.length + token) * width + column + rank * piece + i, part++);
          column += section;
        }
      }
    }
  }
}

}  // namespace

void split_heads(const HeadSplit& size, const void* rows, void* parts, Stream) {
  each_of_heads(size, [&](std::int64_t row, std::int64_t part) { half(parts)[part] = half(rows)[row]; });
}
void join_heads(const HeadSplit& size, const void* parts, void* rows, Stream) {
  each_of_heads(size, [&](std::int64_t row, std::int64_t part) { half(rows)[row] = half(parts)[part]; });
}

void add_fp32(const float* x, float* y, std::int64_t count, Stream) {
  cpu::accumulate(count, x, y);
}
void initial_normal(InitialKey key, const ElementRuns& runs, float* out, Stream) {
  for (std::int64_t r = 0; r < runs.count; ++r) {
    const ElementRun& run = runs.at[r];
    cpu::Initial<float>::normal({key.seed, key.weight}, {run.global, 1, run.count, run.count}, key.deviation,
                                out + run.local);
  }
}
void fill_fp32(const ElementRuns& runs, float value, float* out, Stream) {
  for (std::int64_t r = 0; r < runs.count; ++r) std::fill_n(out + runs.at[r].local, runs.at[r].count, value);
}
void sum_of_squares(const ElementRuns& runs, const float* x, double* sum, Stream) {
  for (std::int64_t r = 0; r < runs.count; ++r)
    *sum += cpu::Vectors<float>::sum_of_squares(runs.at[r].count, x + runs.at[r].local);
}
void pack_shared(const SharedRuns& runs, const float* x, float* pack, Stream) {
  for (std::int64_t r = 0; r < runs.count; ++r)
    std::copy_n(x + runs.at[r].local, runs.at[r].count, pack + runs.at[r].packed);
}
void sum_shared(const SharedRuns& runs, const float* all, float* x, Stream) {
  for (std::int64_t r = 0; r < runs.count; ++r) {
    const SharedRun& run = runs.at[r];
    std::fill_n(x + run.local, run.count, 0.0f);
    for (std::int64_t s = run.first; s < run.first + run.sharers; ++s)
      cpu::accumulate(run.count, all + s * runs.packed + run.packed, x + run.local);
  }
}
void clip_factor(const double* squares, double limit, float* factor, Stream) {
  const double norm = std::sqrt(*squares);
  *factor = limit > 0 && norm > limit ? static_cast<float>(limit / norm) : 1.0f;
}
void adamw_clipped(AdamWStep step, const float* factor, const AdamWRange& at, Stream) {
  for (std::int64_t i = 0; i < at.count; ++i) {
    const float g = at.gradient[i] * *factor;
    float &m = at.first[i], &v = at.second[i], &w = at.master[i];
    m = step.beta1 * m + (1 - step.beta1) * g, v = step.beta2 * v + (1 - step.beta2) * g * g;
    const float update = m / step.correction1 / (std::sqrt(v / step.correction2) + step.epsilon);
    w -= step.learning_rate * (update + step.weight_decay * w);
    half(at.weight)[i] = static_cast<bf16>(w);
  }
}

// Routing.
namespace {
cpu::RouterShape shape_of(RouterSize size) {
  return {size.rows, size.experts, size.top_k, size.renormalise};
}
}  // namespace
void router_forward(RouterSize size, const void* logits, const RouterChoice& choice, Stream) {
  cpu::Router<bf16>::forward(shape_of(size), half(logits),
                             {choice.probabilities, choice.experts, choice.weights});
}
// The slope stands for coefficient * experts / tokens.
void router_backward(RouterSize size, const RouterChoice& choice, const float* dweights,
                     const RouterBalance& balance, void* dlogits, Stream) {
  const double coefficient = static_cast<double>(balance.slope) / static_cast<double>(size.experts);
  cpu::Router<bf16>::backward(shape_of(size), {choice.probabilities, choice.experts, choice.weights},
                              dweights, {balance.fractions, balance.sequences, 1, coefficient},
                              half(dlogits));
}
void count_routes(RouterSize size, const std::int32_t* experts, const std::int32_t* sequences, float* counts,
                  Stream) {
  for (std::int64_t r = 0; r < size.rows * size.top_k; ++r)
    ++counts[sequences[r / size.top_k] * size.experts + experts[r]];
}
void to_fractions(FractionSize size, float* counts, Stream) {
  std::vector<double> all(counts, counts + size.sequences * size.experts);
  if (size.pooled) cpu::Router<float>::pool({0, size.experts, 0, false}, all);
  for (std::size_t i = 0; i < all.size(); ++i) counts[i] = static_cast<float>(all[i]) * size.share;
}
void add_balance_loss(RouterSize size, const float* probabilities, const RouterBalance& balance, double* loss,
                      Stream) {
  for (std::int64_t i = 0; i < size.rows * size.experts; ++i)
    *loss += static_cast<double>(balance.slope * probabilities[i]) *
             static_cast<double>(
                 balance.fractions[balance.sequences[i / size.experts] * size.experts + i % size.experts]);
}
void order_routes(RouterSize size, const RouterChoice& choice, const RouteOrder& order, Stream) {
  const std::int64_t all = size.rows * size.top_k;
  std::int64_t at = 0;
  for (std::int64_t expert = 0; expert < size.experts; ++expert) {
    const std::int64_t first = at;
    for (std::int64_t r = 0; r < all; ++r) {
      if (choice.experts[r] != expert) continue;
      order.place[r] = static_cast<std::int32_t>(at), order.factor[at++] = choice.weights[r];
    }
    order.counts[expert] = at - first;
  }
}
void spread_rows(TokenSum size, const std::int32_t* place, const void* in, void* out, Stream) {
  for (std::int64_t r = 0; r < size.tokens * size.top_k; ++r)
    std::copy_n(half(in) + r / size.top_k * size.width, size.width, half(out) + place[r] * size.width);
}
void sum_routes(TokenSum size, const std::int32_t* place, const void* in, void* out, Stream) {
  for (std::int64_t i = 0; i < size.tokens * size.width; ++i) {
    float sum = 0;
    for (std::int64_t k = 0; k < size.top_k; ++k)
      sum += wide(half(in)[place[i / size.width * size.top_k + k] * size.width + i % size.width]);
    half(out)[i] = static_cast<bf16>(sum);
  }
}
void gather_fp32(std::int64_t count, const std::int32_t* index, const float* in, float* out, Stream) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = in[index[i]];
}
void move_rows(const RowMoves& moves, const MovedRows& at, Stream) {
  for (std::int64_t m = 0; m < moves.count; ++m) {
    const RowBlockMove& move = moves.at[m];
    std::copy_n(static_cast<const char*>(at.in) + move.from * moves.bytes, move.rows * moves.bytes,
                static_cast<char*>(at.out) + move.to * moves.bytes);
    if (at.values_in != nullptr) std::copy_n(at.values_in + move.from, move.rows, at.values_out + move.to);
  }
}

}  // namespace tw::gpu
