#include "tests/unit/kernels/support.hpp"

namespace tw::cpu {
namespace {

constexpr AdamWSettings kSettings{
    .learning_rate = 0.1, .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-8, .weight_decay = 0.5};

TEST(AdamW, FirstStepByHand) {
  // Bias correction makes the first step lr * sign(g) (but for epsilon), after a decay of 1 - 0.1 * 0.5.
  Tensor master = {2, 2, 2};
  Tensor m(3), v(3), weight(3);
  const Tensor gradient = {4, -1e-3, 0};
  AdamW<double>::update(kSettings, {3, 1}, gradient.data(),
                        {master.data(), m.data(), v.data(), weight.data()});
  EXPECT_NEAR(master[0], 1.9 - 0.1, 1e-9);
  EXPECT_NEAR(master[1], 1.9 + 0.1 / (1 + 1e-5), 1e-9);
  EXPECT_NEAR(master[2], 1.9, 1e-15);
  expect_equal(m, {0.4, -1e-4, 0}, 1e-15);
  expect_equal(v, {0.16, 1e-8, 0}, 1e-15);
  EXPECT_EQ(weight, master);
}

TEST(AdamW, SecondStepByHand) {
  // g = 1 then 3 from w = 0, no decay. m = 0.9 * 0.1 + 0.1 * 3 = 0.39 over 1 - 0.81 = 0.19;
  // v = 0.99 * 0.01 + 0.01 * 9 = 0.0999 over 1 - 0.9801 = 0.0199.
  AdamWSettings settings = kSettings;
  settings.weight_decay = 0;
  settings.epsilon = 0;
  double w = 0, m = 0, v = 0;
  for (const double gradient : {1.0, 3.0}) {
    AdamW<double>::update(settings, {1, gradient == 1 ? 1 : 2}, &gradient, {&w, &m, &v, &w});
  }
  EXPECT_NEAR(w, -0.1 - 0.1 * (0.39 / 0.19) / std::sqrt(0.0999 / 0.0199), 1e-15);
}

TEST(AdamW, TheCopyIsTheRoundedMaster) {
  Random random(1);
  std::vector<float> master = rounded<float>(random.tensor(50));
  const std::vector<float> gradient = rounded<float>(random.tensor(50));
  std::vector<float> m(50), v(50);
  std::vector<bf16> weight(50);
  AdamW<bf16>::update(kSettings, {50, 1}, gradient.data(),
                      {master.data(), m.data(), v.data(), weight.data()});
  EXPECT_EQ(widened(weight), widened(rounded<bf16>(widened(master))));
}

// Shards of a range, updated one by one, are the range.
TEST(AdamW, ShardsAreTheWhole) {
  Random random(2);
  const Tensor start = random.tensor(10);
  const Tensor gradient = random.tensor(10);
  Tensor whole = start, m(10), v(10);
  AdamW<double>::update(kSettings, {10, 1}, gradient.data(),
                        {whole.data(), m.data(), v.data(), whole.data()});
  Tensor shards = start;
  m = v = zeros(10);
  for (const auto& [first, count] : {std::pair{0, 3}, {3, 7}}) {
    AdamW<double>::update(kSettings, {count, 1}, gradient.data() + first,
                          {shards.data() + first, m.data() + first, v.data() + first, shards.data() + first});
  }
  EXPECT_EQ(shards, whole);
}

template <class T>
class AdamWIn : public testing::Test {};
TYPED_TEST_SUITE(AdamWIn, NarrowTypes);

// The moments take 4 roundings of terms (m's may cancel), the root 3, its factors 2 and the step 3 more;
// decay and the last sum 3 of the weight.
TYPED_TEST(AdamWIn, ErrsByItsRoundings) {
  using T = TypeParam;
  using A = Acc<T>;
  const double u = kUnit<A>;
  Random random(3);
  Twin<A> master(random.tensor(200));
  Twin<A> m(random.tensor(200));
  Twin<A> v(absolute(random.tensor(200)));
  const Twin<A> gradient(random.tensor(200));
  Tensor bound(200);
  for (std::size_t i = 0; i < bound.size(); ++i) {
    const double g = std::abs(gradient.wide[i]);
    const double first = 0.9 * std::abs(m.wide[i]) + 0.1 * g;
    const double second = 0.99 * v.wide[i] + 0.01 * g * g;
    const double step = 0.1 * first / (1 - std::pow(0.9, 3)) / std::sqrt(second / (1 - std::pow(0.99, 3)));
    bound[i] = u * (14 * step + 3 * std::abs(master.wide[i]));
  }
  std::vector<T> weight(200);
  Tensor wide_weight(200);
  AdamW<T>::update(kSettings, {200, 3}, gradient.narrow.data(),
                   {master.narrow.data(), m.narrow.data(), v.narrow.data(), weight.data()});
  AdamW<double>::update(kSettings, {200, 3}, gradient.wide.data(),
                        {master.wide.data(), m.wide.data(), v.wide.data(), wide_weight.data()});
  expect_within(master.narrow, master.wide, bound);
  expect_within(weight, wide_weight, times(1.01, bound));
}

}  // namespace
}  // namespace tw::cpu
