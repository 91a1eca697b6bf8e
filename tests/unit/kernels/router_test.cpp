#include "tests/unit/kernels/support.hpp"

namespace tw::cpu {
namespace {

template <class T>
struct Routes {
  using A = Acc<T>;
  Routes(const RouterShape& shape, const std::vector<T>& logits)
      : probabilities(index(shape.rows * shape.experts)),
        experts(index(shape.rows * shape.top_k)),
        weights(experts.size()) {
    Router<T>::forward(shape, logits.data(), {probabilities.data(), experts.data(), weights.data()});
  }
  RouterChoice<const A> choice() const { return {probabilities.data(), experts.data(), weights.data()}; }

  std::vector<A> probabilities;
  std::vector<std::int32_t> experts;
  std::vector<A> weights;
};

TEST(Router, ByHand) {
  // p = 1/8, 3/8, 1/8, 3/8: the ties go to the lower index.
  const Tensor logits = {0, std::log(3.0), 0, std::log(3.0)};
  const Routes<double> plain({1, 4, 3, false}, logits);
  expect_equal(plain.probabilities, {0.125, 0.375, 0.125, 0.375}, 1e-15);
  EXPECT_EQ(plain.experts, (std::vector<std::int32_t>{1, 3, 0}));
  expect_equal(plain.weights, {0.375, 0.375, 0.125}, 1e-15);
  const Routes<double> renormalised({1, 4, 3, true}, logits);
  expect_equal(renormalised.weights, {3.0 / 7, 3.0 / 7, 1.0 / 7}, 1e-15);
}

TEST(Router, OrderIsOfLogitsWhereProbabilitiesVanish) {
  // exp(-800) and exp(-900) are both 0 in double.
  EXPECT_EQ(Routes<double>({1, 3, 3, false}, {-900, -800, 0}).experts, (std::vector<std::int32_t>{2, 1, 0}));
}

TEST(Router, CountsRoutesPerSequence) {
  const std::vector<std::int32_t> experts = {0, 2, 2, 1, 2, 0};
  const std::vector<std::int32_t> sequences = {0, 1, 1};
  std::vector<std::int64_t> counts(6, 10);
  Router<double>::count_routes({3, 3, 2, false}, experts.data(), sequences.data(), counts.data());
  EXPECT_EQ(counts, (std::vector<std::int64_t>{11, 10, 11, 11, 11, 12}));
}

TEST(Router, AuxiliaryLossByHand) {
  // Two tokens of one sequence of two: mean p = (0.5, 0.5), f = (0.75, 0.25), coefficient 10:
  // 10 * 2 * (0.375 + 0.125) = 10. The other sequence's token: 10 * 2 * (0.9 * 1 + 0.1 * 0) / 2 = 9.
  const Tensor probabilities = {0.2, 0.8, 0.8, 0.2, 0.9, 0.1};
  const Tensor fractions = {0.75, 0.25, 1, 0};
  const std::vector<std::int32_t> sequences = {0, 0, 1};
  Tensor loss = {0, 100};
  Router<double>::auxiliary_loss({3, 2, 1, false}, probabilities.data(),
                                 {fractions.data(), sequences.data(), 2, 10}, loss.data());
  expect_equal(loss, {10, 109}, 1e-15);
}

// Two sequences of four routes over two experts, 3 : 1 and 1 : 3: of both together 4 : 4, a half each.
TEST(Router, PooledCountsAreTheirMean) {
  std::vector<double> counts = {3, 1, 1, 3};
  Router<double>::pool({8, 2, 1, false}, counts);
  EXPECT_EQ(counts, (std::vector<double>{2, 2, 2, 2}));
  std::vector<double> alone = {3, 1};
  Router<double>::pool({4, 2, 1, false}, alone);
  EXPECT_EQ(alone, (std::vector<double>{3, 1}));
}

// Four tokens, two to a sequence, p of expert 0: 0.2, 0.8, 0.9, 0.5; routes to 1, 0, 0 and 0: f = (3/4, 1/4)
// of the micro-batch and P = (0.6, 0.4), so coefficient 10 gives 10 * 2 * (0.45 + 0.1) = 11. As the mean over
// sequences with the pooled f: 10 * 2 * (0.375 + 0.125) = 10 and 10 * 2 * (0.525 + 0.075) = 12.
TEST(Router, PooledLossByHand) {
  const Tensor probabilities = {0.2, 0.8, 0.8, 0.2, 0.9, 0.1, 0.5, 0.5};
  const std::vector<std::int32_t> sequences = {0, 0, 1, 1};
  Tensor fractions = {1, 1, 2, 0};
  Router<double>::pool({4, 2, 1, false}, fractions);
  for (double& count : fractions) count /= 2;  // routes of a sequence
  Tensor loss = {0, 0};
  Router<double>::auxiliary_loss({4, 2, 1, false}, probabilities.data(),
                                 {fractions.data(), sequences.data(), 2, 10}, loss.data());
  expect_equal(loss, {10, 12}, 1e-15);
  EXPECT_NEAR((loss[0] + loss[1]) / 2, 11, 1e-14);
}

struct Balanced {
  explicit Balanced(Random& random)
      : shape{random.whole(2, 6), random.whole(2, 6), 1, random.whole(0, 1) == 1},
        fractions(absolute(random.tensor(3 * shape.experts))),
        sequences(random.indices(shape.rows, 3)) {
    shape.top_k = random.whole(1, shape.experts);
  }
  LoadBalance<double> balance(double coefficient) const {
    return {fractions.data(), sequences.data(), 7, coefficient};
  }

  RouterShape shape;
  Tensor fractions;
  std::vector<std::int32_t> sequences;
};

double loss_of(const Balanced& c, const Tensor& logits, const Tensor& dweights, double coefficient) {
  const Routes<double> routes(c.shape, logits);
  Tensor auxiliary(3);
  Router<double>::auxiliary_loss(c.shape, routes.probabilities.data(), c.balance(coefficient),
                                 auxiliary.data());
  return dot(routes.weights, dweights) + auxiliary[0] + auxiliary[1] + auxiliary[2];
}

// The weights' part alone, the auxiliary one alone, and both.
TEST(Router, GradientsAreThoseOfDifferences) {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    for (const double coefficient : {0.0, 0.3}) {
      for (const double factor : {0.0, 1.0}) {
        Random random(seed);
        const Balanced c(random);
        Tensor logits = random.tensor(c.shape.rows * c.shape.experts);
        const Tensor dweights = times(factor, random.tensor(c.shape.rows * c.shape.top_k));
        Tensor dlogits(logits.size());
        Router<double>::backward(c.shape, Routes<double>(c.shape, logits).choice(), dweights.data(),
                                 c.balance(coefficient), dlogits.data());
        expect_gradients([&] { return loss_of(c, logits, dweights, coefficient); },
                         {{"logits", &logits, &dlogits}});
      }
    }
  }
}

// A sequence cut into parts: the parts' losses and gradients are those of the whole.
TEST(Router, PartsOfASequenceAddUp) {
  Random random(21);
  const RouterShape whole{8, 4, 2, true};
  const RouterShape half{4, 4, 2, true};
  const Tensor logits = random.tensor(32);
  const Tensor fractions = {0.1, 0.2, 0.3, 0.4};
  const std::vector<std::int32_t> sequences(8, 0);
  const LoadBalance<double> balance{fractions.data(), sequences.data(), 8, 0.5};
  const Routes<double> routes(whole, logits);
  double expected = 0;
  double parts = 0;
  Router<double>::auxiliary_loss(whole, routes.probabilities.data(), balance, &expected);
  Router<double>::auxiliary_loss(half, routes.probabilities.data(), balance, &parts);
  Router<double>::auxiliary_loss(half, routes.probabilities.data() + 16, balance, &parts);
  EXPECT_NEAR(parts, expected, 1e-15);
}

template <class T>
class RouterIn : public testing::Test {};
TYPED_TEST_SUITE(RouterIn, NarrowTypes);

// Probabilities err as in a softmax over n experts, by r = (2 max|x| + n + 4) u of themselves, weights by
// twice that with the sum of the chosen. dlogits = p (dp - mean): with |dp| at most D, the errors are
// those of p twice (in front and in the mean), of dp (weights and their sum: 4 r D) and n u.
TYPED_TEST(RouterIn, ErrsByItsReductionLength) {
  using T = TypeParam;
  using A = Acc<T>;
  const double u = kUnit<A>;
  for (const bool renormalise : {false, true}) {
    Random random(6);
    const RouterShape shape{40, 16, 4, renormalise};
    const Twin<T> logits(random.tensor(40 * 16));
    const Twin<A> dweights(random.tensor(40 * 4));
    const Routes<T> routes(shape, logits.narrow);
    const Routes<double> exact(shape, logits.wide);
    const double r = (2 * largest(logits.wide) + 16 + 4) * u;
    EXPECT_EQ(routes.experts, exact.experts);
    expect_within(routes.probabilities, exact.probabilities, times(r, exact.probabilities));
    expect_within(routes.weights, exact.weights, times(2 * r, exact.weights));

    std::vector<T> dlogits(logits.narrow.size());
    Tensor expected(logits.wide.size());
    Router<T>::backward(shape, routes.choice(), dweights.narrow.data(), {nullptr, nullptr, 1, 0},
                        dlogits.data());
    Router<double>::backward(shape, exact.choice(), dweights.wide.data(), {nullptr, nullptr, 1, 0},
                             expected.data());
    Tensor bound(expected.size());
    for (std::size_t i = 0; i < bound.size(); ++i) {
      // Renormalised, dp = (dw - mean) / s with |mean| at most max|dw|.
      double s = renormalise ? 0 : 1;
      double most = 0;
      for (std::size_t j = i / 16 * 4; j < i / 16 * 4 + 4; ++j) {
        if (renormalise) s += exact.probabilities[i / 16 * 16 + index(exact.experts[j])];
        most = std::max(most, std::abs(dweights.wide[j]));
      }
      const double d = (renormalise ? 2 : 1) * most / s;
      bound[i] = exact.probabilities[i] * 2 * d * (8 * r + 16 * u);
    }
    expect_within(dlogits, expected, bound);
  }
}

}  // namespace
}  // namespace tw::cpu
