#include "tests/unit/kernels/support.hpp"

namespace tw::cpu {
namespace {

TEST(Rope, ByHand) {
  // One head of 4 at position 3, theta 16: pairs (0, 2) turn by 3, pairs (1, 3) by 3 / sqrt(16).
  Tensor x = {1, 0, 0, 2, 5, 6};
  const std::int32_t position = 3;
  Rope<double>::forward({1, 1, 4, 16}, &position, {x.data(), 6});
  expect_equal(x, {std::cos(3.0), -2 * std::sin(0.75), std::sin(3.0), 2 * std::cos(0.75), 5, 6}, 1e-15);
}

// q = k at positions p and p + n: the score depends on n alone.
TEST(Rope, ScoresDependOnTheDistance) {
  Random random(2);
  const Tensor q = random.tensor(16);
  const Tensor k = random.tensor(16);
  const auto score = [&](std::int32_t p, std::int32_t n) {
    Tensor a = q;
    Tensor b = k;
    const std::int32_t far = p + n;
    Rope<double>::forward({1, 1, 16, 1e4}, &far, {a.data(), 16});
    Rope<double>::forward({1, 1, 16, 1e4}, &p, {b.data(), 16});
    return dot(a, b);
  };
  EXPECT_NEAR(score(0, 7), score(1000, 7), 1e-11);
  EXPECT_GT(std::abs(score(0, 7) - score(0, 8)), 1e-3);
}

TEST(Rope, GradientsAreThoseOfDifferences) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    Random random(seed);
    const RopeShape shape{random.whole(1, 4), random.whole(1, 3), 2 * random.whole(1, 4), 1e4};
    const std::int64_t stride = shape.heads * shape.head_dim + random.whole(0, 5);
    Tensor x = random.tensor(shape.rows * stride);
    const Tensor dy = random.tensor(shape.rows * stride);
    const std::vector<std::int32_t> positions = random.indices(shape.rows, 500);
    Tensor dx = dy;
    Rope<double>::backward(shape, positions.data(), {dx.data(), stride});
    const auto loss = [&] {
      Tensor y = x;
      Rope<double>::forward(shape, positions.data(), {y.data(), stride});
      return dot(y, dy);
    };
    expect_gradients(loss, {{"x", &x, &dx}});
  }
}

template <class T>
class RopeIn : public testing::Test {};
TYPED_TEST_SUITE(RopeIn, NarrowTypes);

// a cos - b sin: cosine and sine rounded once, two products, one difference: 3 u of |a| + |b|.
TYPED_TEST(RopeIn, ErrsByThreeRoundings) {
  using T = TypeParam;
  Random random(3);
  const RopeShape shape{6, 2, 8, 1e4};
  Twin<T> x(random.tensor(6 * 16));
  const std::vector<std::int32_t> positions = random.indices(shape.rows, 100'000);
  Tensor bound(x.wide.size());
  for (std::size_t i = 0; i < bound.size(); ++i) {
    bound[i] = 3 * kUnit<Acc<T>> * (std::abs(x.wide[i]) + std::abs(x.wide[i % 8 < 4 ? i + 4 : i - 4]));
  }
  Rope<T>::forward(shape, positions.data(), {x.narrow.data(), 16});
  Rope<double>::forward(shape, positions.data(), {x.wide.data(), 16});
  expect_within(x.narrow, x.wide, bound);
}

}  // namespace
}  // namespace tw::cpu
