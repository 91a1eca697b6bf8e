#include "tests/unit/kernels/support.hpp"

namespace tw::cpu {
namespace {

TEST(Embedding, ByHand) {
  // Entries 10 and 11 of a vocabulary, width 2; tokens 9 and 12 lie just outside.
  const std::vector<std::int32_t> tokens = {9, 11, 10, 12, 11};
  const Tensor table = {1, 2, 3, 4};
  Tensor y(10, -1.0);
  Embedding<double>::forward({5, 2, 10, 2}, tokens.data(), table.data(), y.data());
  EXPECT_EQ(y, (Tensor{0, 0, 3, 4, 1, 2, 0, 0, 3, 4}));
  const Tensor dy = {1, 1, 10, 20, 5, 6, 7, 8, 100, 200};
  Tensor dtable(4, 1000.0);
  Embedding<double>::backward({5, 2, 10, 2}, tokens.data(), dy.data(), dtable.data());
  EXPECT_EQ(dtable, (Tensor{1005, 1006, 1110, 1220}));
}

TEST(Embedding, GradientsAreThoseOfDifferences) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    Random random(seed);
    const EmbeddingShape shape{random.whole(1, 8), random.whole(1, 4), random.whole(0, 3),
                               random.whole(1, 4)};
    const std::vector<std::int32_t> tokens = random.indices(shape.rows, 9);
    Tensor table = random.tensor(shape.count * shape.width);
    const Tensor dy = random.tensor(shape.rows * shape.width);
    Tensor dtable(table.size());
    Embedding<double>::backward(shape, tokens.data(), dy.data(), dtable.data());
    const auto loss = [&] {
      Tensor y(dy.size());
      Embedding<double>::forward(shape, tokens.data(), table.data(), y.data());
      return dot(y, dy);
    };
    expect_gradients(loss, {{"table", &table, &dtable}});
  }
}

TEST(Embedding, RangesAddUpToTheWhole) {
  Random random(5);
  const std::int64_t vocabulary = 13;
  const std::vector<std::int32_t> tokens = random.indices(40, vocabulary);
  const std::vector<bf16> table = rounded<bf16>(random.tensor(vocabulary * 3));
  std::vector<bf16> whole(120);
  Embedding<bf16>::forward({40, 3, 0, vocabulary}, tokens.data(), table.data(), whole.data());
  for (const std::int64_t cut : {0, 1, 6, 13}) {
    std::vector<bf16> low(120);
    std::vector<bf16> high(120);
    Embedding<bf16>::forward({40, 3, 0, cut}, tokens.data(), table.data(), low.data());
    Embedding<bf16>::forward({40, 3, cut, vocabulary - cut}, tokens.data(), table.data() + 3 * cut,
                             high.data());
    Vectors<bf16>::add(120, low.data(), high.data(), low.data());
    EXPECT_EQ(widened(low), widened(whole));
  }
}

template <class T>
class EmbeddingIn : public testing::Test {};
TYPED_TEST_SUITE(EmbeddingIn, NarrowTypes);

// The look-up is a copy; a gradient is a sum of at most as many rows as there are tokens.
TYPED_TEST(EmbeddingIn, ErrsByTheSumAlone) {
  using T = TypeParam;
  Random random(6);
  const EmbeddingShape shape{60, 4, 1, 3};
  const std::vector<std::int32_t> tokens = random.indices(60, 4);
  const Twin<T> dy(random.tensor(240));
  std::vector<Acc<T>> dtable(12);
  Tensor exact(12);
  Tensor sizes(12);
  Embedding<T>::backward(shape, tokens.data(), dy.narrow.data(), dtable.data());
  Embedding<double>::backward(shape, tokens.data(), dy.wide.data(), exact.data());
  Embedding<double>::backward(shape, tokens.data(), absolute(dy.wide).data(), sizes.data());
  expect_within(dtable, exact, times(60 * kUnit<Acc<T>>, sizes));
}

}  // namespace
}  // namespace tw::cpu
