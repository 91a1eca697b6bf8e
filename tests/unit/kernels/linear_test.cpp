#include "tests/unit/kernels/support.hpp"

namespace tw::cpu {
namespace {

Tensor forward(LinearSize size, const Tensor& x, const Tensor& w) {
  Tensor y = zeros(size.rows * size.out);
  Linear<double>::forward(size, x.data(), w.data(), y.data());
  return y;
}

TEST(Linear, ByHand) {
  // w = [1 2; 3 4; 5 6], x = [1 10]: y = [1 + 20, 3 + 40, 5 + 60].
  const Tensor w = {1, 2, 3, 4, 5, 6};
  const Tensor x = {1, 10};
  EXPECT_EQ(forward({1, 2, 3}, x, w), (Tensor{21, 43, 65}));
  // dy = [1 0 2]: dx = [1 + 10, 2 + 12], dw += [1 10; 0 0; 2 20].
  const Tensor dy = {1, 0, 2};
  Tensor dx(2);
  Linear<double>::dgrad({1, 2, 3}, dy.data(), w.data(), dx.data());
  EXPECT_EQ(dx, (Tensor{11, 14}));
  Tensor dw(6, 100.0);
  Linear<double>::wgrad({1, 2, 3}, dy.data(), x.data(), dw.data());
  EXPECT_EQ(dw, (Tensor{101, 110, 100, 100, 102, 120}));
}

TEST(Linear, GradientsAreThoseOfDifferences) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    Random random(seed);
    const LinearSize size{random.whole(1, 7), random.whole(1, 7), random.whole(1, 7)};
    Tensor x = random.tensor(size.rows * size.in);
    Tensor w = random.tensor(size.out * size.in);
    const Tensor dy = random.tensor(size.rows * size.out);
    Tensor dx = zeros(size.rows * size.in);
    Tensor dw = zeros(size.out * size.in);
    Linear<double>::dgrad(size, dy.data(), w.data(), dx.data());
    Linear<double>::wgrad(size, dy.data(), x.data(), dw.data());
    expect_gradients([&] { return dot(forward(size, x, w), dy); }, {{"x", &x, &dx}, {"w", &w, &dw}});
  }
}

TEST(Linear, NoRowsIsNoWork) {
  Tensor dw(4, 7.0);
  Linear<double>::forward({0, 2, 2}, nullptr, dw.data(), nullptr);
  Linear<double>::wgrad({0, 2, 2}, nullptr, nullptr, dw.data());
  EXPECT_EQ(dw, Tensor(4, 7.0));
}

// Segments that cover `rows` in random order over groups of which some are empty and some have several.
std::vector<Segment> random_segments(Random& random, std::int64_t rows, std::int64_t groups) {
  std::vector<Segment> segments;
  for (std::int64_t first = 0; first < rows;) {
    const std::int64_t count = std::min(rows - first, random.whole(0, 4));
    segments.push_back({random.whole(0, groups - 1), first, count});
    first += count;
  }
  random.shuffle(segments);
  return segments;
}

struct GroupedCase {
  explicit GroupedCase(std::uint64_t seed)
      : random(seed),
        rows(random.whole(5, 20)),
        groups(random.whole(1, 6)),
        segments(random_segments(random, rows, groups)),
        size{random.whole(1, 6), random.whole(1, 6), segments},
        x(random.tensor(rows * size.in)),
        w(random.tensor(groups * size.out * size.in)),
        dy(random.tensor(rows * size.out)) {}

  Tensor forward() const {
    Tensor y = zeros(rows * size.out);
    GroupedLinear<double>::forward(size, x.data(), w.data(), y.data());
    return y;
  }

  Random random;
  std::int64_t rows, groups;
  std::vector<Segment> segments;
  GroupedSize size;
  Tensor x, w, dy;
};

TEST(GroupedLinear, GradientsAreThoseOfDifferences) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    GroupedCase c(seed);
    Tensor dx = zeros(c.rows * c.size.in);
    Tensor dw = zeros(c.groups * c.size.out * c.size.in);
    GroupedLinear<double>::dgrad(c.size, c.dy.data(), c.w.data(), dx.data());
    GroupedLinear<double>::wgrad(c.size, c.dy.data(), c.x.data(), dw.data());
    expect_gradients([&] { return dot(c.forward(), c.dy); }, {{"x", &c.x, &dx}, {"w", &c.w, &dw}});
  }
}

// Each row by itself through the plain operator with its group's weight.
TEST(GroupedLinear, IsALoopOfPlainOnes) {
  for (std::uint64_t seed = 11; seed <= 16; ++seed) {
    const GroupedCase c(seed);
    const std::int64_t in = c.size.in;
    const std::int64_t out = c.size.out;
    Tensor y = zeros(c.rows * out);
    Tensor dx = zeros(c.rows * in);
    Tensor dw = zeros(c.groups * out * in);
    for (const Segment& segment : c.segments) {
      const double* w = c.w.data() + segment.group * out * in;
      for (std::int64_t row = segment.first_row; row < segment.first_row + segment.rows; ++row) {
        Linear<double>::forward({1, in, out}, c.x.data() + row * in, w, y.data() + row * out);
        Linear<double>::dgrad({1, in, out}, c.dy.data() + row * out, w, dx.data() + row * in);
        Linear<double>::wgrad({1, in, out}, c.dy.data() + row * out, c.x.data() + row * in,
                              dw.data() + segment.group * out * in);
      }
    }
    Tensor grouped_dx = zeros(c.rows * in);
    Tensor grouped_dw = zeros(c.groups * out * in);
    GroupedLinear<double>::dgrad(c.size, c.dy.data(), c.w.data(), grouped_dx.data());
    GroupedLinear<double>::wgrad(c.size, c.dy.data(), c.x.data(), grouped_dw.data());
    expect_equal(c.forward(), y, 1e-14);
    expect_equal(grouped_dx, dx, 1e-14);
    expect_equal(grouped_dw, dw, 1e-14);
  }
}

TEST(GroupedLinear, LeavesOtherRowsAlone) {
  const std::vector<Segment> segments = {{1, 2, 1}};
  const Tensor x = {1, 1, 3};
  const Tensor w = {10, 20};
  Tensor y(3, -1.0);
  GroupedLinear<double>::forward({1, 1, segments}, x.data(), w.data(), y.data());
  EXPECT_EQ(y, (Tensor{-1, -1, 60}));
}

template <class T>
class LinearIn : public testing::Test {};
TYPED_TEST_SUITE(LinearIn, NarrowTypes);

// A sum of n products, in any order, errs by at most n u of the sum of their sizes (Higham, Accuracy and
// Stability of Numerical Algorithms, 3.1), u that of the accumulation type; a store adds one rounding.
TYPED_TEST(LinearIn, ErrsByItsReductionLength) {
  using T = TypeParam;
  const double u = kUnit<Acc<T>>;
  Random random(5);
  const LinearSize size{33, 70, 41};
  const Twin<T> x(random.tensor(size.rows * size.in));
  const Twin<T> w(random.tensor(size.out * size.in));
  const Twin<T> dy(random.tensor(size.rows * size.out));
  std::vector<T> y(dy.narrow.size());
  Linear<T>::forward(size, x.narrow.data(), w.narrow.data(), y.data());
  expect_within(y, forward(size, x.wide, w.wide),
                times(70 * u, forward(size, absolute(x.wide), absolute(w.wide))));

  std::vector<T> dx(x.narrow.size());
  Tensor exact(dx.size());
  Tensor sizes(dx.size());
  Linear<T>::dgrad(size, dy.narrow.data(), w.narrow.data(), dx.data());
  Linear<double>::dgrad(size, dy.wide.data(), w.wide.data(), exact.data());
  Linear<double>::dgrad(size, absolute(dy.wide).data(), absolute(w.wide).data(), sizes.data());
  expect_within(dx, exact, times(41 * u, sizes));

  std::vector<Acc<T>> dw(w.narrow.size());
  exact = sizes = zeros(size.out * size.in);
  Linear<T>::wgrad(size, dy.narrow.data(), x.narrow.data(), dw.data());
  Linear<double>::wgrad(size, dy.wide.data(), x.wide.data(), exact.data());
  Linear<double>::wgrad(size, absolute(dy.wide).data(), absolute(x.wide).data(), sizes.data());
  expect_within(dw, exact, times(34 * u, sizes));
}

}  // namespace
}  // namespace tw::cpu
