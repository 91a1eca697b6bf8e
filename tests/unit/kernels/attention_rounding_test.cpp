#include "tests/unit/kernels/attention_support.hpp"

namespace tw::cpu {
namespace {

// What bounds one query head's errors, from its row of the exact computation. With d features, n keys
// and u the roundoff of the accumulation type, a score errs by e = (d + 3) u max sum|q k| / sqrt(d), and
// a weight p = exp(score - log_sum_exp) by w = 2 e + (n + 8) u of itself: its own score, the largest
// one and the sum of n; outputs, which are means of v under p, add n u for their own sum.
struct QueryBound {
  double e, w;
};

struct Bounds {
  const Packed& packed;
  double u;

  double d() const { return static_cast<double>(packed.shape.head_dim); }
  const double* q(std::int64_t row, std::int64_t head) const {
    return packed.qkv.data() + row * packed.stride() + head * packed.shape.head_dim;
  }
  std::int64_t key_head(std::int64_t head) const { return head * packed.shape.kv_heads / packed.shape.heads; }
  std::int64_t key_offset(std::int64_t head) const {
    return packed.q_width() + key_head(head) * packed.shape.head_dim;
  }
  const double* k(std::int64_t row, std::int64_t head) const {
    return packed.qkv.data() + row * packed.stride() + key_offset(head);
  }
  const double* v(std::int64_t row, std::int64_t head) const { return k(row, head) + packed.kv_width(); }
  double product(const double* a, const double* b) const {
    double sum = 0;
    for (std::int64_t i = 0; i < packed.shape.head_dim; ++i) sum += a[i] * b[i];
    return sum;
  }
  double sizes(const double* a, const double* b) const {
    double sum = 0;
    for (std::int64_t i = 0; i < packed.shape.head_dim; ++i) sum += std::abs(a[i] * b[i]);
    return sum;
  }
  bool sees(std::int64_t row, std::int64_t other) const {
    return packed.sequences[index(row)] == packed.sequences[index(other)] &&
           packed.positions[index(other)] <= packed.positions[index(row)];
  }
  QueryBound query(std::int64_t row, std::int64_t head) const {
    double most = 0;
    for (std::int64_t other = 0; other < packed.rows(); ++other) {
      if (sees(row, other)) most = std::max(most, sizes(q(row, head), k(other, head)));
    }
    const double e = (d() + 3) * u * most / std::sqrt(d());
    return {e, 2 * e + (static_cast<double>(packed.rows()) + 8) * u};
  }
};

struct ForwardBound {
  Tensor out, log_sum_exp;
};

ForwardBound forward_bound(const Bounds& bounds, const AttentionResult& exact) {
  const Packed& packed = bounds.packed;
  ForwardBound bound{zeros(packed.rows() * packed.q_width()), zeros(packed.rows() * packed.shape.heads)};
  for (std::int64_t cell = 0; cell < packed.rows() * packed.shape.heads; ++cell) {
    const std::int64_t row = cell / packed.shape.heads;
    const std::int64_t head = cell % packed.shape.heads;
    const QueryBound query = bounds.query(row, head);
    bound.log_sum_exp[index(cell)] = query.w + 2 * bounds.u * std::abs(exact.log_sum_exp[index(cell)]);
    for (std::int64_t other = 0; other < packed.rows(); ++other) {
      if (!bounds.sees(row, other)) continue;
      const double score = bounds.product(bounds.q(row, head), bounds.k(other, head)) / std::sqrt(bounds.d());
      const double p = std::exp(score - exact.log_sum_exp[index(cell)]);
      for (std::int64_t i = 0; i < packed.shape.head_dim; ++i) {
        bound.out[index(cell * packed.shape.head_dim + i)] +=
            2 * query.w * p * std::abs(bounds.v(other, head)[i]);
      }
    }
  }
  return bound;
}

// dS = p (dP - D) / sqrt(d): p errs by w of itself and by what log_sum_exp is off (w and 2 u of it), dP and D
// each by (d + 2) u of their sums of sizes. Every sum over keys or queries adds n u, of two heads 2 n u.
Tensor backward_bound(const Bounds& bounds, const AttentionResult& exact, const Tensor& dout) {
  const Packed& packed = bounds.packed;
  const std::int64_t dim = packed.shape.head_dim;
  Tensor bound = zeros(packed.rows() * packed.stride());
  for (std::int64_t cell = 0; cell < packed.rows() * packed.shape.heads; ++cell) {
    const std::int64_t row = cell / packed.shape.heads;
    const std::int64_t head = cell % packed.shape.heads;
    const double* gradient = dout.data() + cell * dim;
    const double* out = exact.out.data() + cell * dim;
    const double log_sum_exp = exact.log_sum_exp[index(cell)];
    const double sums = 2 * static_cast<double>(packed.rows()) * bounds.u;
    const double w = 2 * bounds.query(row, head).w + 2 * bounds.u * std::abs(log_sum_exp) + sums;
    for (std::int64_t other = 0; other < packed.rows(); ++other) {
      if (!bounds.sees(row, other)) continue;
      const double score = bounds.product(bounds.q(row, head), bounds.k(other, head)) / std::sqrt(bounds.d());
      const double p = std::exp(score - log_sum_exp);
      const double* v = bounds.v(other, head);
      const double difference = std::abs(bounds.product(gradient, v) - bounds.product(gradient, out));
      const double sizes = bounds.sizes(gradient, v) + bounds.sizes(gradient, out);
      const double ds = p / std::sqrt(bounds.d()) * (w * difference + (bounds.d() + 4) * bounds.u * sizes);
      double* dk = bound.data() + other * packed.stride() + bounds.key_offset(head);
      for (std::int64_t i = 0; i < dim; ++i) {
        bound[index(row * packed.stride() + head * dim + i)] += ds * std::abs(bounds.k(other, head)[i]);
        dk[i] += ds * std::abs(bounds.q(row, head)[i]);
        dk[packed.kv_width() + i] += w * p * std::abs(gradient[i]);
      }
    }
  }
  return bound;
}

template <class T>
class AttentionIn : public testing::Test {};
TYPED_TEST_SUITE(AttentionIn, NarrowTypes);

TYPED_TEST(AttentionIn, ErrsByItsReductionLengths) {
  using T = TypeParam;
  using A = Acc<T>;
  Random random(12);
  Packed packed = random_packed(random, {4, 2, 8}, {70, 40});
  const Twin<T> qkv(packed.qkv);
  packed.qkv = qkv.wide;
  const Twin<T> dout(random.tensor(packed.rows() * packed.q_width()));
  const Bounds bounds{packed, kUnit<A>};

  State<T> state(packed.shape, packed.rows());
  const AttentionBlock<T> block = block_of(packed, qkv.narrow.data(), packed, qkv.narrow.data());
  Attention<T>::block(block, state.view);
  std::vector<T> out(index(packed.rows() * packed.q_width()));
  std::vector<A> log_sum_exp(index(packed.rows() * 4));
  Attention<T>::finish(packed.shape, packed.rows(), state.view, {out.data(), 32}, log_sum_exp.data());
  AttentionResult exact = attend(packed, {&packed});
  const ForwardBound bound = forward_bound(bounds, exact);
  expect_within(out, exact.out, bound.out);
  expect_within(log_sum_exp, exact.log_sum_exp, bound.log_sum_exp);

  std::vector<A> dots(log_sum_exp.size());
  Attention<T>::row_dots(packed.shape, packed.rows(), {out.data(), 32}, {dout.narrow.data(), 32},
                         dots.data());
  std::vector<A> gradient(packed.qkv.size());
  Attention<T>::backward(block, {{dout.narrow.data(), 32}, log_sum_exp.data(), dots.data()},
                         {{gradient.data(), 64}, {gradient.data() + 32, 64}, {gradient.data() + 48, 64}});
  // The reference starts from the same rounded output, so that its rounding is no error here.
  exact.out = widened(out);
  Tensor expected = zeros(packed.rows() * packed.stride());
  attend_backward(packed, exact, dout.wide, {{&packed, expected.data()}}, expected.data());
  expect_within(gradient, expected, backward_bound(bounds, exact, dout.wide));
}

}  // namespace
}  // namespace tw::cpu
