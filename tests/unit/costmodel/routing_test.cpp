// How unequal ranks of ep are where routers are not trained: by hand and by counting every choice.
#include "costmodel/program/routing.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <numbers>

namespace tw {
namespace {

// Every choice of top_k of the experts is as likely: load of the first rank's experts, over the mean.
double counted_deviation(int experts, int top_k, int ep) {
  double squares = 0;
  int choices = 0;
  for (unsigned set = 0; set < (1u << experts); ++set) {
    if (std::popcount(set) != top_k) continue;
    const double load = std::popcount(set & ((1u << (experts / ep)) - 1)) * static_cast<double>(ep) / top_k;
    squares += (load - 1) * (load - 1), ++choices;
  }
  return std::sqrt(squares / choices);
}

TEST(Routing, DeviationIsThatOfEveryChoiceCounted) {
  for (const auto& [experts, top_k, ep] : {std::array{8, 2, 2}, std::array{8, 2, 4}, std::array{8, 2, 8},
                                           std::array{16, 4, 2}, std::array{16, 1, 4}, std::array{4, 3, 2}}) {
    const Moe moe{.experts = experts, .top_k = top_k};
    EXPECT_NEAR(deviation_if_alike(moe, ep), counted_deviation(experts, top_k, ep), 1e-12)
        << experts << " " << top_k << " " << ep;
  }
  EXPECT_EQ(deviation_if_alike({.experts = 8, .top_k = 2}, 1), 0);
  EXPECT_EQ(deviation_if_alike({.experts = 8, .top_k = 8}, 2), 0) << "all are chosen";
}

// Means of the largest of n: 1/sqrt(pi), 3/(2 sqrt(pi)), and 1.02938 of four (Harter 1961); made to sum to
// zero.
TEST(Routing, LargestOfNormals) {
  const double root = std::sqrt(std::numbers::pi);
  EXPECT_EQ(largest_of_normals(1), 0);
  EXPECT_NEAR(largest_of_normals(2), std::sqrt(2.0) / root, 1e-3);
  EXPECT_NEAR(largest_of_normals(3), std::sqrt(1.5) * 1.5 / root, 1e-3);
  EXPECT_NEAR(largest_of_normals(4), std::sqrt(4.0 / 3) * 1.02938, 1e-3);
  EXPECT_NEAR(largest_of_normals(2), mean_absolute_of_normal(), 1e-3)
      << "of two, the larger is the deviation";
}

// Eight experts, two chosen, two ranks: deviation sqrt(3/7), of which half the normal mean of 0.798.
TEST(Routing, LoadFollowsFromLayoutWhereItWasMeasured) {
  const Moe moe{.experts = 8, .top_k = 2};
  EXPECT_NEAR(for_ranks({.likeness = 0.5}, &moe, 2).max_over_mean, 1 + 0.5 * 0.797885 * std::sqrt(3.0 / 7),
              1e-3);
  EXPECT_EQ(for_ranks({.likeness = 0.5}, &moe, 1).max_over_mean, 1);
  EXPECT_EQ(for_ranks({.likeness = 0.5}, nullptr, 2).max_over_mean, 1);
  EXPECT_EQ(for_ranks({.max_over_mean = 1.3}, &moe, 2).max_over_mean, 1.3) << "given: kept";
}

}  // namespace
}  // namespace tw
