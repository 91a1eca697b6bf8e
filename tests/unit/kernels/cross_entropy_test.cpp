#include "tests/unit/kernels/support.hpp"

namespace tw::cpu {
namespace {

using Double = CrossEntropy<double>;
using Part = Double::Part;

// Columns [first, first + count) of rows of `vocabulary` logits.
Tensor columns(const Tensor& logits, std::int64_t vocabulary, const VocabularyRange& range) {
  Tensor part = zeros(range.rows * range.count);
  copy_rows<double, double>({range.rows, range.count}, {logits.data() + range.first, vocabulary},
                            {part.data(), range.count});
  return part;
}

Tensor losses(const VocabularyRange& range, const Tensor& logits, const std::vector<std::int32_t>& targets) {
  std::vector<Part> parts(index(range.rows));
  Double::forward(range, logits.data(), targets.data(), parts.data());
  Tensor loss(parts.size());
  Double::loss(range.rows, parts.data(), loss.data());
  return loss;
}

TEST(CrossEntropy, ByHand) {
  // Logits ln 1, ln 2, ln 5 and a padded 100: p = 1/8, 2/8, 5/8, and the padding takes no part.
  Tensor logits = {0, std::log(2.0), std::log(5.0), 100};
  const std::int32_t target = 1;
  const VocabularyRange range{1, 0, 4, 3};
  Part part{};
  Double::forward(range, logits.data(), &target, &part);
  EXPECT_DOUBLE_EQ(part.maximum, std::log(5.0));
  EXPECT_DOUBLE_EQ(part.sum, 8.0 / 5);
  EXPECT_DOUBLE_EQ(part.target, std::log(2.0));
  expect_equal(losses(range, logits, {1}), {std::log(4.0)}, 1e-15);
  // In place: (p - onehot) * 8.
  Double::backward(range, {logits.data(), &target, &part}, 8, logits.data());
  expect_equal(logits, {1, -6, 5, 0}, 1e-15);
}

TEST(CrossEntropy, GradientsAreThoseOfDifferences) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    Random random(seed);
    const std::int64_t rows = random.whole(1, 5);
    const std::int64_t limit = random.whole(2, 9);
    const VocabularyRange range{rows, 0, limit + random.whole(0, 3), limit};
    Tensor logits = random.tensor(rows * range.count);
    const std::vector<std::int32_t> targets = random.indices(rows, limit);
    std::vector<Part> parts(index(rows));
    Double::forward(range, logits.data(), targets.data(), parts.data());
    Tensor gradient(logits.size());
    Double::backward(range, {logits.data(), targets.data(), parts.data()}, 0.7, gradient.data());
    const auto loss = [&] { return 0.7 * dot(losses(range, logits, targets), Tensor(index(rows), 1.0)); };
    expect_gradients(loss, {{"logits", &logits, &gradient}});
  }
}

// The parts of a vocabulary of 12, of which the last ones are padding, merged in random order.
TEST(CrossEntropy, RangesMergedEqualTheWhole) {
  for (const std::int64_t count : {1, 2, 3, 4}) {
    for (const std::int64_t limit : {12, 11, 8, 3}) {
      Random random(static_cast<std::uint64_t>(10 * count + limit));
      const VocabularyRange whole{20, 0, 12, limit};
      const Tensor logits = times(5, random.tensor(240));
      const std::vector<std::int32_t> targets = random.indices(20, limit);
      std::vector<Part> merged(20, Part{-INFINITY, 0, 0});
      std::vector<VocabularyRange> ranges;
      for (std::int64_t i = 0; i < count; ++i) ranges.push_back({20, i * 12 / count, 12 / count, limit});
      random.shuffle(ranges);
      for (const VocabularyRange& range : ranges) {
        std::vector<Part> part(20);
        Double::forward(range, columns(logits, 12, range).data(), targets.data(), part.data());
        Double::merge(20, part.data(), merged.data());
      }
      Tensor loss(20);
      Double::loss(20, merged.data(), loss.data());
      expect_equal(loss, losses(whole, logits, targets), 1e-14);

      std::vector<Part> parts(20);
      Double::forward(whole, logits.data(), targets.data(), parts.data());
      Tensor expected(240);
      Double::backward(whole, {logits.data(), targets.data(), parts.data()}, 1, expected.data());
      for (const VocabularyRange& range : ranges) {
        Tensor own = columns(logits, 12, range);
        Double::backward(range, {own.data(), targets.data(), merged.data()}, 1, own.data());
        expect_equal(own, columns(expected, 12, range), 1e-14);
      }
    }
  }
}

template <class T>
class CrossEntropyIn : public testing::Test {};
TYPED_TEST_SUITE(CrossEntropyIn, NarrowTypes);

// exp(x - maximum) errs by u |x - maximum| + 2 u of itself, its sum over n entries by n u more; the log
// turns that into an absolute error, and each of the three terms of the loss is rounded twice at most.
TYPED_TEST(CrossEntropyIn, ErrsByItsReductionLength) {
  using T = TypeParam;
  const double u = kUnit<Acc<T>>;
  Random random(3);
  const VocabularyRange range{30, 0, 64, 60};
  const Twin<T> logits(times(3, random.tensor(30 * 64)));
  const std::vector<std::int32_t> targets = random.indices(30, 60);
  const double most = largest(logits.wide);
  const double relative = (2 * most + 60 + 3) * u;

  std::vector<typename CrossEntropy<T>::Part> parts(30);
  CrossEntropy<T>::forward(range, logits.narrow.data(), targets.data(), parts.data());
  std::vector<Acc<T>> loss(30);
  CrossEntropy<T>::loss(30, parts.data(), loss.data());
  expect_within(loss, losses(range, logits.wide, targets), Tensor(30, relative + 6 * most * u));

  std::vector<T> dlogits(logits.narrow.size());
  CrossEntropy<T>::backward(range, {logits.narrow.data(), targets.data(), parts.data()}, 0.25,
                            dlogits.data());
  std::vector<Part> wide(30);
  Double::forward(range, logits.wide.data(), targets.data(), wide.data());
  Tensor exact(logits.wide.size());
  Double::backward(range, {logits.wide.data(), targets.data(), wide.data()}, 0.25, exact.data());
  // 0.25 (p - onehot): p errs by twice the relative error (its own exponential and the sum).
  Tensor bound = exact;
  for (std::size_t row = 0; row < 30; ++row) {
    double& target = bound[64 * row + index(targets[row])];
    target = 0.25 + target;  // 0.25 p
  }
  expect_within(dlogits, exact, times(2 * relative + 4 * u, bound));
}

}  // namespace
}  // namespace tw::cpu
