// Loads, placements and what they make of ranks, by hand.
#include <gtest/gtest.h>

#include <numeric>

#include "costmodel/expert_load.hpp"
#include "costmodel/expert_placement.hpp"
#include "costmodel/skew.hpp"
#include "tests/support/small_models.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

// small_model: the second layer has 8 experts, of which a token takes 2.
std::vector<double> sorted_shares(const std::string& load, std::int64_t step = 0, std::int32_t top_k = 2) {
  Model model = small_model(true, 2);
  model.kinds[1].moe->top_k = top_k;
  const auto shares = expert_shares(model, "--load", load, step, 1);
  EXPECT_EQ(shares.size(), 2u);
  EXPECT_TRUE(shares[0].empty());
  EXPECT_NEAR(std::accumulate(shares[1].begin(), shares[1].end(), 0.0), 1, 1e-12);
  std::vector<double> out = shares[1];
  std::sort(out.rbegin(), out.rend());
  return out;
}

// 1 + 1/2 + ... + 1/8 = 761/280.
TEST(ExpertLoad, ZipfIsOneOverN) {
  const std::vector<double> shares = sorted_shares("zipf:1");
  for (std::size_t n = 1; n <= 8; ++n)
    EXPECT_NEAR(shares[n - 1], 280.0 / 761 / static_cast<double>(n), 1e-12);
  for (const double share : sorted_shares("zipf:0")) EXPECT_NEAR(share, 0.125, 1e-12);
  for (const double share : sorted_shares("balanced")) EXPECT_NEAR(share, 0.125, 1e-12);
}

// A token takes an expert once: with two chosen none has more than half, with four a quarter; the others keep
// their proportions. zipf:2 of 8: 1 + 1/4 + 1/9 + ... = 1.5274; the first, 0.655, is cut to 1/2, the second
// gets 1/2 of 0.25/0.5274.
TEST(ExpertLoad, ATokenTakesAnExpertOnce) {
  const std::vector<double> two = sorted_shares("zipf:2");
  EXPECT_DOUBLE_EQ(two[0], 0.5);
  EXPECT_NEAR(two[1], 0.5 * 0.25 / 0.527422, 1e-6);
  EXPECT_NEAR(two[2], 0.5 * (1.0 / 9) / 0.527422, 1e-6);
  const std::vector<double> four = sorted_shares("zipf:9", 0, 4);
  EXPECT_DOUBLE_EQ(four[0], 0.25);
  EXPECT_DOUBLE_EQ(four[1], 0.25);
}

// Three times the mean of 1/8 at first, twice after 100 steps, 1.5 times after 200.
TEST(ExpertLoad, ASpikeHalves) {
  EXPECT_NEAR(sorted_shares("spike:3", 0)[0], 3.0 / 8, 1e-12);
  EXPECT_NEAR(sorted_shares("spike:3", 100)[0], 2.0 / 8, 1e-12);
  EXPECT_NEAR(sorted_shares("spike:3", 200)[0], 1.5 / 8, 1e-12);
  EXPECT_NEAR(sorted_shares("spike:3", 0)[7], 5.0 / 8 / 7, 1e-12);
}

// After ten steps each expert's place is that of the one before it in the order; after 80 all are back.
TEST(ExpertLoad, DriftPassesPopularityOn) {
  const Model model = small_model(true, 2);
  const auto at = [&](std::int64_t step) { return expert_shares(model, "--load", "drift:1", step, 1)[1]; };
  EXPECT_EQ(at(0), at(9));
  EXPECT_EQ(at(0), at(80));
  const std::vector<double> before = at(0), after = at(10);
  EXPECT_NE(before, after);
  for (std::size_t e = 0; e < 8; ++e) {
    if (before[e] > 0.3) {
      EXPECT_NEAR(after[e], 280.0 / 761 / 8, 1e-12);  // the first place's expert is now last
    }
  }
}

std::vector<std::int32_t> placed(const char* policy, std::vector<double> load, std::int32_t ranks,
                                 std::int32_t per_node, std::int32_t slots) {
  return find_row(all_placements(), policy)->place({load, ranks, per_node, slots});
}
using Slots = std::vector<std::int32_t>;

// Loads 0.4, 0.3, 0.2, 0.1 on two ranks of two.
TEST(ExpertPlacement, ByHand) {
  const std::vector<double> load{0.4, 0.3, 0.2, 0.1};
  EXPECT_EQ(placed("none", load, 2, 2, 2), (Slots{0, 1, 2, 3}));
  EXPECT_EQ(placed("round-robin", load, 2, 2, 2), (Slots{0, 2, 1, 3}));
  EXPECT_EQ(placed("balanced", load, 2, 2, 2), (Slots{0, 3, 1, 2}));
  EXPECT_EQ(placed("round-robin", load, 2, 2, 3), (Slots{0, 2, 0, 1, 3, 1}));
  // One more slot each: a second copy of 0, then of 1: 0.2, 0.2, 0.2 (of 2), 0.15, 0.15, 0.1. Rank 0 takes 0,
  // 2 and 1; rank 1 takes 0, 1 and 3.
  EXPECT_EQ(placed("balanced", load, 2, 2, 3), (Slots{0, 2, 1, 0, 1, 3}));
}

TEST(ExpertPlacement, EveryPolicyPlacesEveryExpert) {
  const std::vector<double> load = zipf_shares(16, 1.2);
  for (const PlacementPolicy* policy : all_placements()) {
    for (const std::int32_t slots : {4, 5, 7}) {
      if (slots > 4 && !policy->replicates) continue;
      Slots all = policy->place({load, 4, 2, slots});
      EXPECT_EQ(all.size(), 4u * static_cast<std::size_t>(slots)) << policy->name;
      std::sort(all.begin(), all.end());
      all.erase(std::unique(all.begin(), all.end()), all.end());
      EXPECT_EQ(all.size(), 16u) << policy->name;
    }
  }
}

// Two experts' worth of slots on each of 2 x 2 ranks for 4 alike: topology puts a copy of each on both nodes,
// and no token leaves its node; balanced leaves half of them to chance.
TEST(Skew, ATokenStaysWhereACopyIs) {
  Model model = small_model(true, 2);
  model.kinds[1].moe->experts = 4;
  const LayerSkew own = skew_of(model, 4, 2, {"balanced", "topology", 1, 0, 1})[1];
  for (std::size_t from = 0; from < 4; ++from) {
    double stays = 0, all = 0;
    for (std::size_t to = 0; to < 4; ++to) {
      all += own.to[from * 4 + to];
      if (from / 2 == to / 2) stays += own.to[from * 4 + to];
    }
    EXPECT_NEAR(all, 1, 1e-12);
    EXPECT_NEAR(stays, 1, 1e-12);
    EXPECT_NEAR(own.rows[from], 1, 1e-12);
  }
}

TEST(Skew, RowsAreWhatIsSent) {
  const Model model = small_model(true, 2);
  for (const char* placement : {"none", "round-robin", "balanced", "topology"}) {
    const LayerSkew skew = skew_of(model, 4, 2, {"zipf:1", placement, 0, 0, 1})[1];
    for (std::size_t to = 0; to < 4; ++to) {
      double rows = 0;
      for (std::size_t from = 0; from < 4; ++from) rows += skew.to[from * 4 + to];
      EXPECT_NEAR(rows, skew.rows[to], 1e-12);
    }
    EXPECT_NEAR(std::accumulate(skew.rows.begin(), skew.rows.end(), 0.0), 4, 1e-12);
  }
}

TEST(Skew, RefusesWhatCannotBe) {
  const Model model = small_model(true, 2), dense = small_model(false, 2);
  EXPECT_THROW(skew_of(model, 4, 2, {"zipf:1", "none", 1, 0, 1}), InputError);
  EXPECT_THROW(skew_of(model, 4, 2, {"zipf:1", "nowhere", 0, 0, 1}), InputError);
  EXPECT_THROW(skew_of(model, 4, 2, {"zipf:1", "balanced", 7, 0, 1}), InputError);
  EXPECT_THROW(skew_of(dense, 4, 2, {"zipf:1", "balanced", 0, 0, 1}), InputError);
}

}  // namespace
}  // namespace tw
