#include "tests/unit/kernels/support.hpp"

namespace tw::cpu {
namespace {

TEST(Vectors, ByHand) {
  Tensor x = {3, -4, 12};
  EXPECT_EQ(Vectors<double>::sum_of_squares(3, x.data()), 169);
  Vectors<double>::scale(3, 0.5, x.data());
  EXPECT_EQ(x, (Tensor{1.5, -2, 6}));
  Tensor y = {1, 1, 1};
  accumulate(3, x.data(), y.data());
  EXPECT_EQ(y, (Tensor{2.5, -1, 7}));
  Vectors<double>::add(3, x.data(), y.data(), y.data());
  EXPECT_EQ(y, (Tensor{4, -3, 13}));
  Vectors<double>::fill(2, 8, y.data());
  EXPECT_EQ(y, (Tensor{8, 8, 13}));
}

// The backward of a sum passes the gradient on; that of y += x adds it.
TEST(Vectors, GradientsAreThoseOfDifferences) {
  Random random(1);
  Tensor a = random.tensor(5);
  Tensor b = random.tensor(5);
  const Tensor dy = random.tensor(5);
  const auto loss = [&] {
    Tensor y(5);
    Vectors<double>::add(5, a.data(), b.data(), y.data());
    accumulate(5, a.data(), y.data());
    return dot(y, dy);
  };
  const Tensor twice = times(2, dy);
  expect_gradients(loss, {{"a", &a, &twice}, {"b", &b, &dy}});
}

// A thousand squares of 2^-20 beside 1: in float each would be lost.
TEST(Vectors, SquaresAreSummedInDouble) {
  std::vector<float> x(1001, 0x1p-13F);
  x[0] = 1;
  EXPECT_EQ(Vectors<float>::sum_of_squares(1001, x.data()), 1 + 1000 * 0x1p-26);
}

// 2^-8 added 256 times to 1: in bf16 each tie rounds back to 1, in float the sum is exact.
TEST(Vectors, Bf16AccumulatesIntoFloat) {
  const bf16 small(0x1p-8F);
  bf16 narrow(1);
  float wide = 1;
  for (int i = 0; i < 256; ++i) {
    accumulate(1, &small, &narrow);
    accumulate(1, &small, &wide);
  }
  EXPECT_EQ(static_cast<float>(narrow), 1);
  EXPECT_EQ(wide, 2);
}

template <class T>
class VectorsIn : public testing::Test {};
TYPED_TEST_SUITE(VectorsIn, NarrowTypes);

// One operation in the accumulation type, one store.
TYPED_TEST(VectorsIn, ErrByOneRoundingEach) {
  using T = TypeParam;
  Random random(2);
  const Twin<T> a(random.tensor(100));
  const Twin<T> b(random.tensor(100));
  std::vector<T> y(100);
  Tensor exact(100);
  Vectors<T>::add(100, a.narrow.data(), b.narrow.data(), y.data());
  Vectors<double>::add(100, a.wide.data(), b.wide.data(), exact.data());
  expect_within(y, exact, times(1.01 * kUnit<Acc<T>>, absolute(exact)));
  // The factor 0.3 is rounded too.
  y = a.narrow;
  exact = a.wide;
  Vectors<T>::scale(100, 0.3, y.data());
  Vectors<double>::scale(100, 0.3, exact.data());
  expect_within(y, exact, times(2.01 * kUnit<Acc<T>>, absolute(exact)));
}

}  // namespace
}  // namespace tw::cpu
