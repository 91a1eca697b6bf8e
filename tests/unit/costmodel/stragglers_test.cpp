// The slowest of n: published expected maxima (Harter 1961, Biometrika 48, table 1), a seeded
// Monte-Carlo run, and the traffic of deduplicated dispatch.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "costmodel/price.hpp"
#include "costmodel/stragglers.hpp"

namespace tw {
namespace {

TEST(Stragglers, ExpectedMaximumOfFewAndMany) {
  EXPECT_EQ(expected_maximum(1), 0);
  EXPECT_NEAR(expected_maximum(2), 1 / std::sqrt(M_PI), 1e-6);          // exact: 0.5642
  EXPECT_NEAR(expected_maximum(3), 1.5 / std::sqrt(M_PI), 1e-6);        // exact: 0.8463
  EXPECT_NEAR(expected_maximum(10), 1.53875, 1e-5);
  EXPECT_NEAR(expected_maximum(100), 2.50759, 1e-5);
  EXPECT_NEAR(expected_maximum(1000), 3.24144, 1e-5);
}

// 20000 draws of the largest of 64: standard error 0.43 / sqrt(20000) = 0.003.
TEST(Stragglers, MonteCarlo) {
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal;
  double sum = 0;
  constexpr int kDraws = 20000;
  for (int draw = 0; draw < kDraws; ++draw) {
    double most = normal(random);
    for (int i = 1; i < 64; ++i) most = std::max(most, normal(random));
    sum += most;
  }
  EXPECT_NEAR(sum / kDraws, expected_maximum(64), 4 * 0.003);
}

TEST(Stragglers, RisesWithTheGroup) {
  for (std::int64_t n = 1; n < 1 << 20; n *= 2) EXPECT_LT(expected_maximum(n), expected_maximum(2 * n));
}

TEST(Stragglers, QuantilesOfTheNormal) {
  EXPECT_NEAR(normal_quantile(0.9), 1.2815515655446004, 1e-12);
  EXPECT_NEAR(normal_quantile(0.5), 0, 1e-12);
  EXPECT_NEAR(normal_quantile(0.001), -3.090232306167813, 1e-10);
}

// Eight of eight nodes drawn alike: 8(1 - (7/8)^8) = 5.25 distinct ones; at most 4 when routing is
// limited to them (DeepSeek-V3, arXiv 2412.19437, section 2.1.2).
TEST(Dispatch, DistinctNodes) {
  EXPECT_NEAR(Pricer::distinct_nodes(8, 8, 0), 5.25, 0.005);
  EXPECT_EQ(Pricer::distinct_nodes(8, 8, 4), 4);
  EXPECT_NEAR(Pricer::distinct_nodes(1, 8, 0), 1, 1e-12);
  EXPECT_NEAR(Pricer::distinct_nodes(8, 1, 0), 1, 1e-12);
}

}  // namespace
}  // namespace tw
