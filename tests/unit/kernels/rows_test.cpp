#include "tests/unit/kernels/support.hpp"

namespace tw::cpu {
namespace {

TEST(Rows, SlicesByHand) {
  // Features 1 and 2 of the rows 1 and 2 of a [3, 4] matrix, to the left of rows of 3.
  const Tensor x = {0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23};
  Tensor y(6, -1.0);
  copy_rows<double, double>({2, 2}, {x.data() + 5, 4}, {y.data(), 3});
  EXPECT_EQ(y, (Tensor{11, 12, -1, 21, 22, -1}));
}

TEST(Rows, CopiesConvert) {
  const std::vector<float> x = {1 + 0x1p-8F, 1 + 3 * 0x1p-8F};
  std::vector<bf16> narrow(2);
  std::vector<float> back(2);
  copy_rows<float, bf16>({1, 2}, {x.data(), 2}, {narrow.data(), 2});
  copy_rows<bf16, float>({1, 2}, {narrow.data(), 2}, {back.data(), 2});
  EXPECT_EQ(back, (std::vector<float>{1, 1 + 0x1p-6F}));
}

TEST(Rows, GatherAndScatterByHand) {
  const std::vector<std::int64_t> order = {2, 0, 2};
  const Tensor x = {1, 2, 3, 4, 5, 6};
  Tensor y(6);
  gather_rows(2, order, x.data(), y.data());
  EXPECT_EQ(y, (Tensor{5, 6, 1, 2, 5, 6}));
  Tensor sums(6, 100.0);
  scatter_add_rows(2, order, x.data(), sums.data());
  EXPECT_EQ(sums, (Tensor{103, 104, 100, 100, 106, 108}));
}

// Each is the other's backward; several indices may be one row, and a row may be none.
TEST(Rows, GradientsAreThoseOfDifferences) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    Random random(seed);
    const std::int64_t width = random.whole(1, 4);
    const std::int64_t rows = random.whole(1, 6);
    std::vector<std::int64_t> order(index(random.whole(1, 8)));
    for (std::int64_t& row : order) row = random.whole(0, rows - 1);
    const auto moved = static_cast<std::int64_t>(order.size()) * width;
    Tensor x = random.tensor(rows * width);
    Tensor y = random.tensor(moved);
    Tensor dx = zeros(rows * width);
    Tensor dy(y.size());
    scatter_add_rows(width, order, y.data(), dx.data());
    gather_rows(width, order, x.data(), dy.data());
    const auto gathered = [&] {
      Tensor result(index(moved));
      gather_rows(width, order, x.data(), result.data());
      return dot(result, y);
    };
    const auto scattered = [&] {
      Tensor result = zeros(rows * width);
      scatter_add_rows(width, order, y.data(), result.data());
      return dot(result, x);
    };
    expect_gradients(gathered, {{"x of gather", &x, &dx}});
    expect_gradients(scattered, {{"x of scatter_add", &y, &dy}});
  }
}

// A permutation and its transpose give the rows back, bit for bit, in every type.
TEST(Rows, UnpermuteUndoesPermute) {
  Random random(4);
  std::vector<std::int64_t> order = {0, 1, 2, 3, 4, 5, 6};
  random.shuffle(order);
  const std::vector<bf16> x = rounded<bf16>(random.tensor(21));
  std::vector<bf16> moved(21);
  std::vector<bf16> back(21);
  gather_rows(3, order, x.data(), moved.data());
  scatter_add_rows(3, order, moved.data(), back.data());
  EXPECT_EQ(widened(back), widened(x));
  std::vector<float> wide(21);
  scatter_add_rows(3, order, moved.data(), wide.data());
  EXPECT_EQ(widened(wide), widened(x));
}

}  // namespace
}  // namespace tw::cpu
