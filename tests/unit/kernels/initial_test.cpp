#include "tests/unit/kernels/support.hpp"

namespace tw::cpu {
namespace {

using Words = std::array<std::uint32_t, 4>;

// The known answers of Random123 (its file kat_vectors) for Philox4x32 with 10 rounds.
TEST(Initial, PhiloxGivesItsKnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint32_t ones = 0xffff'ffffU;
  EXPECT_EQ(philox({ones, ones, ones, ones}, {ones, ones}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Initial, EveryPartOfTheKeyCounts) {
  const double value = normal_value({1, 2}, 3);
  EXPECT_EQ(normal_value({1, 2}, 3), value);
  const std::uint64_t far = std::uint64_t{1} << 32;
  for (const double other :
       {normal_value({2, 2}, 3), normal_value({1, 3}, 3), normal_value({1, 2}, 4),
        normal_value({1 + far, 2}, 3), normal_value({1, 2 + far}, 3), normal_value({1, 2}, 3 + far)}) {
    EXPECT_NE(other, value);
  }
}

struct Moments {
  double mean = 0, variance = 0, fourth = 0, least = 0, most = 0;
};

Moments moments_of(double (*value)(WeightKey, std::uint64_t), std::uint64_t count) {
  Moments moments;
  for (std::uint64_t i = 0; i < count; ++i) {
    const double x = value({7, 8}, i);
    const auto n = static_cast<double>(count);
    moments.mean += x / n;
    moments.variance += x * x / n;
    moments.fourth += x * x * x * x / n;
    moments.least = std::min(moments.least, x);
    moments.most = std::max(moments.most, x);
  }
  return moments;
}

// Over n = 100,000 values a mean of x^k errs by sqrt(var(x^k) / n); five times that. Normal: var x = 1,
// var x^2 = 2, mean x^4 = 3 with variance 96. Uniform of deviation 1: var x^2 = 9/5 - 1, mean x^4 = 9/5
// with variance 81/9 - 81/25.
TEST(Initial, HasTheMomentsOfItsDistribution) {
  const double error = 5 / std::sqrt(1e5);
  const Moments normal = moments_of(normal_value, 100'000);
  EXPECT_NEAR(normal.mean, 0, error);
  EXPECT_NEAR(normal.variance, 1, error * std::sqrt(2.0));
  EXPECT_NEAR(normal.fourth, 3, error * std::sqrt(96.0));
  const Moments uniform = moments_of(uniform_value, 100'000);
  EXPECT_NEAR(uniform.mean, 0, error);
  EXPECT_NEAR(uniform.variance, 1, error * std::sqrt(0.8));
  EXPECT_NEAR(uniform.fourth, 1.8, error * std::sqrt(81.0 / 9 - 81.0 / 25));
  EXPECT_GE(uniform.least, -std::sqrt(3.0));
  EXPECT_LE(uniform.most, std::sqrt(3.0));
}

// A weight [4, 6] cut into quarters: each quarter has the whole's values, in every type.
TEST(Initial, ShardsHaveTheValuesOfTheWhole) {
  const WeightKey key{1, 2};
  Tensor whole(24);
  Initial<double>::normal(key, {0, 4, 6, 6}, 0.02, whole.data());
  EXPECT_EQ(whole[7], 0.02 * normal_value(key, 7));
  for (const std::int64_t row : {0, 2}) {
    for (const std::int64_t column : {0, 3}) {
      const WeightBlock block{row * 6 + column, 2, 3, 6};
      Tensor expected(6);
      copy_rows<double, double>({2, 3}, {whole.data() + block.first, 6}, {expected.data(), 3});
      Tensor shard(6);
      Initial<double>::normal(key, block, 0.02, shard.data());
      EXPECT_EQ(shard, expected);
      std::vector<float> wide(6);
      std::vector<bf16> narrow(6);
      Initial<float>::normal(key, block, 0.02, wide.data());
      Initial<bf16>::normal(key, block, 0.02, narrow.data());
      EXPECT_EQ(widened(wide), widened(rounded<float>(expected)));
      EXPECT_EQ(widened(narrow), widened(rounded<bf16>(expected)));
    }
  }
}

TEST(Initial, UniformBlocks) {
  Tensor values(2);
  Initial<double>::uniform({3, 4}, {5, 2, 1, 10}, 2, values.data());
  EXPECT_EQ(values, (Tensor{2 * uniform_value({3, 4}, 5), 2 * uniform_value({3, 4}, 15)}));
}

}  // namespace
}  // namespace tw::cpu
