// Two costs beside each other, by hand.
#include "costmodel/compare.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace tw {
namespace {

Cost cost(double gemm, double tp, float gemm_error, float intra_error) {
  Cost out;
  out.terms[Term::gemm] = static_cast<float>(gemm);
  out.terms[Term::tp] = static_cast<float>(tp);
  out.terms.error[static_cast<std::size_t>(CurveId::gemm)] = gemm_error;
  out.terms.error[static_cast<std::size_t>(CurveId::intra_collective)] = intra_error;
  out.step_seconds = gemm + tp;
  return out;
}

// 4 + 1 s against 4 + 1.5 s. Their GEMM errors are equal and cancel; 0.1 and 0.15 s of the links
// leave 0.05 s, with 10% of the difference of 0.5 s: sqrt(0.05^2 + 0.05^2) = 0.0707 s.
TEST(Compare, SharedCurvesCancel) {
  const Comparison c = compare(cost(4, 1, 0.4f, 0.1f), cost(4, 1.5, 0.4f, 0.15f), 0.1);
  EXPECT_DOUBLE_EQ(c.seconds, 0.5);
  EXPECT_NEAR(c.spread, std::sqrt(0.005), 1e-7);
  EXPECT_TRUE(c.distinguishable);
  ASSERT_EQ(c.terms.size(), 1u);
  EXPECT_EQ(c.terms[0].term, Term::tp);
  EXPECT_NEAR(c.terms[0].seconds, 0.5, 1e-6);
}

// The same difference of 0.05 s with 0.05 s of links' error: 1.28 * 0.05 = 0.064 s hides it.
TEST(Compare, ADifferenceWithinItsBandCannotBeTold) {
  const Comparison c = compare(cost(4, 1, 0.4f, 0.1f), cost(4, 1.05, 0.4f, 0.15f), 0);
  EXPECT_NEAR(c.spread, 0.05, 1e-7);
  EXPECT_FALSE(c.distinguishable);
}

TEST(Compare, TermsComeLargestFirst) {
  const Comparison c = compare(cost(4, 2, 0, 0), cost(4.5, 1, 0, 0), 0);
  ASSERT_EQ(c.terms.size(), 2u);
  EXPECT_EQ(c.terms[0].term, Term::tp);
  EXPECT_NEAR(c.terms[0].seconds, -1, 1e-6);
  EXPECT_EQ(c.terms[1].term, Term::gemm);
}

}  // namespace
}  // namespace tw
