// The slowest of n: published expected maxima (Harter 1961, Biometrika 48, table 1), a seeded
// Monte-Carlo run, and the traffic of deduplicated dispatch.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "costmodel/price.hpp"
#include "costmodel/stragglers.hpp"
#include "tests/unit/costmodel/oracle_fixture.hpp"

namespace tw {
namespace {

TEST(Stragglers, ExpectedMaximumOfFewAndMany) {
  EXPECT_EQ(expected_maximum(1), 0);
  EXPECT_NEAR(expected_maximum(2), 1 / std::sqrt(M_PI), 1e-6);    // exact: 0.5642
  EXPECT_NEAR(expected_maximum(3), 1.5 / std::sqrt(M_PI), 1e-6);  // exact: 0.8463
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

// 16 ranks on two nodes of 8, 4096 tokens of 8 copies of 1024 bytes. Direct: a copy goes to one of 16 ranks
// alike: 7/16 stay inside the node, 8/16 leave. Deduplicated: 2(1 - 2^-8) distinct nodes a token, half of
// them the other one, in one message to it; inside, every copy moves on to one of 8 ranks: 7/8.
TEST(Dispatch, BytesByDispatcher) {
  const test::Setup setup(test::small_model({.experts = 16, .top_k = 8}), test::h100(16), test::megatron(),
                          16, 4096);
  const Calibration& k = setup.calibration;
  Op op;
  const double bytes = 4096.0 * 8 * 1024;
  op.work = DispatchWork{expert_group(bit(Dim::ep)), Bytes(static_cast<std::int64_t>(bytes)), 8, 0};
  PassKey key;
  key.ep = 16;
  const PassLinks links = pass_links(setup.machine, key);
  ASSERT_EQ(links.ep.nodes, 2);
  Pricer pricer(setup.machine, Precision::bf16);
  EXPECT_NEAR(pricer.price(op, links).seconds, k.all_to_all(links.ep, bytes * 7 / 16, bytes / 2).time.value,
              1e-12);
  pricer.set(Dispatch::dedup, Precision::bf16);
  const double left = 4096.0 * 1024 * 2 * (1 - 1.0 / 256) / 2;
  GroupLinks node = links.ep, place = links.ep;
  node.ranks = 8, node.nodes = 1, place.ranks = 2, place.ranks_per_node = 1;
  const double inside = k.all_to_all(node, bytes * 7 / 8, 0).time.value;
  const double deduplicated = k.all_to_all(place, 0, left).time.value;
  EXPECT_NEAR(pricer.price(op, links).seconds, std::max(inside, deduplicated), 1e-12);
  // By rails all copies leave, under the forwarding; node first, one after the other.
  const double outside = k.all_to_all(place, 0, bytes / 2).time.value;
  pricer.set(Dispatch::rail, Precision::bf16);
  EXPECT_NEAR(pricer.price(op, links).seconds, std::max(inside, outside), 1e-12);
  pricer.set(Dispatch::two_level, Precision::bf16);
  EXPECT_NEAR(pricer.price(op, links).seconds, inside + outside, 1e-12);
}

}  // namespace
}  // namespace tw
