#include "tests/unit/kernels/support.hpp"

namespace tw::cpu {
namespace {

// Vectors that begin at feature `offset` of rows of `stride` features, as the heads of packed rows do.
struct Case {
  NormShape shape;
  std::int64_t offset, stride;

  std::int64_t count() const { return shape.rows * stride; }
};

Case random_case(Random& random) {
  const NormShape shape{random.whole(1, 4), random.whole(1, 3), random.whole(2, 8), 0.1};
  const std::int64_t offset = random.whole(0, 3);
  return {shape, offset, offset + shape.vectors * shape.width + random.whole(0, 3)};
}

// Features outside the vectors stay as they are in x.
Tensor forward(const Case& c, const Tensor& x, const Tensor& weight) {
  Tensor y = x;
  RmsNorm<double>::forward(c.shape, {x.data() + c.offset, c.stride}, weight.data(),
                           {y.data() + c.offset, c.stride});
  return y;
}

TEST(RmsNorm, ByHand) {
  // mean of squares of (3, 4) + 0 = 12.5; of (1, 1) = 1.
  const Tensor x = {3, 4, 1, 1};
  const Tensor weight = {1, 10};
  Tensor y(4);
  RmsNorm<double>::forward({1, 2, 2, 0}, {x.data(), 4}, weight.data(), {y.data(), 4});
  expect_equal(y, {3 / std::sqrt(12.5), 40 / std::sqrt(12.5), 1, 10}, 1e-15);
  // epsilon 3 beside a mean square of 1 halves the second vector.
  RmsNorm<double>::forward({1, 1, 2, 3}, {x.data() + 2, 4}, weight.data(), {y.data() + 2, 4});
  expect_equal({y[2], y[3]}, {0.5, 5}, 1e-15);
}

TEST(RmsNorm, GradientsAreThoseOfDifferences) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    Random random(seed);
    const Case c = random_case(random);
    Tensor x = random.tensor(c.count());
    Tensor weight = random.tensor(c.shape.width);
    const Tensor dy = random.tensor(c.count());
    Tensor dx = dy;
    Tensor dweight = zeros(c.shape.width);
    // In place: the gradient of features outside the vectors is that of a copy.
    RmsNorm<double>::backward(c.shape, {x.data() + c.offset, c.stride}, weight.data(),
                              {dx.data() + c.offset, c.stride},
                              {{dx.data() + c.offset, c.stride}, dweight.data()});
    expect_gradients([&] { return dot(forward(c, x, weight), dy); },
                     {{"x", &x, &dx}, {"weight", &weight, &dweight}});
  }
}

TEST(RmsNorm, InPlaceIsTheSame) {
  Random random(9);
  const Case c = random_case(random);
  const Tensor x = random.tensor(c.count());
  const Tensor weight = random.tensor(c.shape.width);
  Tensor y = x;
  RmsNorm<double>::forward(c.shape, {y.data() + c.offset, c.stride}, weight.data(),
                           {y.data() + c.offset, c.stride});
  EXPECT_EQ(y, forward(c, x, weight));
}

template <class T>
class RmsNormIn : public testing::Test {};
TYPED_TEST_SUITE(RmsNormIn, NarrowTypes);

// The mean of n squares (all positive) errs by (n + 2) u of itself, so r by half of that and 3 roundings;
// each product adds one. The mean of g h errs by n u of the sum of sizes besides. Constants rounded up.
TYPED_TEST(RmsNormIn, ErrsByItsReductionLength) {
  using T = TypeParam;
  const double u = kUnit<Acc<T>>;
  Random random(4);
  const NormShape shape{7, 2, 40, 1e-5};
  const auto width = static_cast<double>(shape.width);
  const std::int64_t count = shape.rows * shape.vectors * shape.width;
  const Twin<T> x(random.tensor(count));
  const Twin<T> weight(random.tensor(shape.width));
  const Twin<T> dy(random.tensor(count));
  const std::int64_t stride = shape.vectors * shape.width;
  std::vector<T> y(index(count));
  RmsNorm<T>::forward(shape, {x.narrow.data(), stride}, weight.narrow.data(), {y.data(), stride});
  const Tensor expected = forward({shape, 0, stride}, x.wide, weight.wide);
  expect_within(y, expected, times((width / 2 + 8) * u, absolute(expected)));

  std::vector<T> dx(index(count));
  std::vector<Acc<T>> dweight(index(shape.width));
  RmsNorm<T>::backward(shape, {x.narrow.data(), stride}, weight.narrow.data(), {dy.narrow.data(), stride},
                       {{dx.data(), stride}, dweight.data()});
  Tensor exact_dx = zeros(count);
  Tensor exact_dweight = zeros(shape.width);
  RmsNorm<double>::backward(shape, {x.wide.data(), stride}, weight.wide.data(), {dy.wide.data(), stride},
                            {{exact_dx.data(), stride}, exact_dweight.data()});
  // Per vector: |dx| terms r (|g| + |h| mean |g h|); h is the output under a weight of ones.
  const Tensor h = absolute(forward({shape, 0, stride}, x.wide, Tensor(index(shape.width), 1.0)));
  Tensor bound(index(count));
  Tensor weight_bound = zeros(shape.width);
  for (std::size_t first = 0; first < bound.size(); first += index(shape.width)) {
    double mean = 0;
    for (std::size_t i = 0; i < index(shape.width); ++i) {
      mean += std::abs(dy.wide[first + i] * weight.wide[i]) * h[first + i] / width;
      weight_bound[i] += std::abs(dy.wide[first + i]) * h[first + i] * (14 + width / 2 + 8) * u;
    }
    for (std::size_t i = 0; i < index(shape.width); ++i) {
      const double r = h[first + i] / std::abs(x.wide[first + i]);
      const double terms = std::abs(dy.wide[first + i] * weight.wide[i]) + h[first + i] * mean;
      bound[first + i] = (2.5 * width + 20) * u * r * terms;
    }
  }
  expect_within(dx, exact_dx, bound);
  expect_within(dweight, exact_dweight, weight_bound);
}

}  // namespace
}  // namespace tw::cpu
