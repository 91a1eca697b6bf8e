#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "planner/validate/metrics.hpp"
#include "planner/validate/score.hpp"

namespace tw::validate {
namespace {

using Values = std::vector<double>;

TEST(ValidateMetrics, MeanAndWorstError) {
  // |1.1-1|, |0.8-1|, |1-1|: 0.1, 0.2, 0 -> mean 0.1, worst 0.2
  const Values ratios = {1.1, 0.8, 1.0};
  EXPECT_NEAR(*mean_error(ratios), 0.1, 1e-12);
  EXPECT_NEAR(*worst_error(ratios), 0.2, 1e-12);
  EXPECT_FALSE(mean_error(Values{}));
  EXPECT_FALSE(worst_error(Values{}));
}

TEST(ValidateMetrics, MedianOfOddAndEven) {
  EXPECT_EQ(*median({3, 1, 2}), 2);
  EXPECT_EQ(*median({4, 1, 2, 3}), 2.5);
  EXPECT_FALSE(median({}));
}

double tau(const Values& x, const Values& y) {
  return *kendall_tau(count_pairs(x, y));
}

TEST(ValidateMetrics, KendallTauWithoutTies) {
  EXPECT_DOUBLE_EQ(tau({1, 2, 3}, {10, 20, 30}), 1);
  EXPECT_DOUBLE_EQ(tau({1, 2, 3}, {30, 20, 10}), -1);
  // Of 6 pairs of (1,2,3,4) against (1,3,2,4) one is discordant: (5-1)/6.
  EXPECT_DOUBLE_EQ(tau({1, 2, 3, 4}, {1, 3, 2, 4}), 4.0 / 6);
}

TEST(ValidateMetrics, KendallTauWithTies) {
  // x has one tied pair of 3: untied 2; y none: untied 3. Concordant (1,3)-(2,3): 2. 2/sqrt(6).
  EXPECT_NEAR(tau({1, 1, 2}, {1, 2, 3}), 2 / std::sqrt(6.0), 1e-12);
  // Both tied in the same pair: 2/sqrt(4) = 1.
  EXPECT_DOUBLE_EQ(tau({1, 1, 2}, {5, 5, 6}), 1);
  EXPECT_FALSE(kendall_tau(count_pairs(Values{1, 1}, Values{1, 2})));  // nothing is ranked
  EXPECT_FALSE(kendall_tau(count_pairs(Values{1}, Values{1})));
}

TEST(ValidateMetrics, TauPoolsPairsOfSeveralQuestions) {
  // Two questions: 3 concordant of 3, and 1 discordant of 1: (3-1)/4.
  PairCounts pairs = count_pairs(Values{1, 2, 3}, Values{1, 2, 3});
  pairs += count_pairs(Values{1, 2}, Values{2, 1});
  EXPECT_DOUBLE_EQ(*kendall_tau(pairs), 0.5);
}

TEST(ValidateMetrics, RegretIsWhatThePickCosts) {
  // The prediction's best is the second, measured 12 where 10 was possible: 20%.
  EXPECT_NEAR(*top1_regret(Values{5, 4, 6}, Values{10, 12, 11}), 0.2, 1e-12);
  EXPECT_DOUBLE_EQ(*top1_regret(Values{4, 5}, Values{10, 12}), 0);
  EXPECT_FALSE(top1_regret(Values{4}, Values{10}));  // nothing to choose
}

TEST(ValidateMetrics, HindsightTakesTheBestConstant) {
  // Constants 1, 2, 4 give (0+1+3), (1/2+0+1), (3/4+1/2+0): 4, 1.5, 1.25; the best is 1.25/3.
  EXPECT_NEAR(*hindsight_error(Values{1, 2, 4}), 1.25 / 3, 1e-12);
  EXPECT_DOUBLE_EQ(*hindsight_error(Values{0.4, 0.4}), 0);
  EXPECT_FALSE(hindsight_error(Values{}));
}

ValidatedRow timed(double predicted, double measured, double half) {
  ValidatedRow row;
  row.source = "s", row.question = "q", row.used = row.in_time = true;
  row.predicted = PredictedRow{};
  row.predicted->step_time_s = predicted;
  row.predicted->step_time_low_s = predicted - half, row.predicted->step_time_high_s = predicted + half;
  row.measured.step_time_s = measured, row.measured.utilisation = 1 / measured;
  row.time_ratio = predicted / measured;
  return row;
}

TEST(ValidateScore, CoverageHalfWidthAndRefusedRows) {
  const ValidatedRow inside = timed(10, 11, 2), outside = timed(10, 8, 1);
  ValidatedRow refused;
  refused.in_time = true;
  const Score s = score("s", {&inside, &outside, &refused});
  EXPECT_EQ(s.n, 3);
  EXPECT_EQ(s.used, 2);
  // |10/11-1| = 1/11, |10/8-1| = 0.25, refused 1
  EXPECT_NEAR(*s.time_mape, 100 * (1.0 / 11 + 0.25 + 1) / 3, 1e-9);
  EXPECT_NEAR(*s.time_worst, 100, 1e-9);
  EXPECT_NEAR(*s.coverage, 50, 1e-9);
  EXPECT_NEAR(*s.half_width, 15, 1e-9);  // median of 20% and 10%
  // Predicted alike (one tied pair in x): no rank can be said; the pick is the first, 11 against 8.
  EXPECT_FALSE(s.kendall_tau);
  EXPECT_NEAR(*s.top1_regret, 37.5, 1e-9);
}

TEST(ValidateScore, FitsAndMemory) {
  ValidatedRow right, wrong, refused;
  right.fits_measured = false, right.fits_predicted = false;
  wrong.fits_measured = true, wrong.fits_predicted = false, wrong.memory_ratio = 1.2;
  refused.fits_measured = true;  // no prediction: wrong
  const Score s = score("s", {&right, &wrong, &refused});
  EXPECT_NEAR(*s.fit_accuracy, 100.0 / 3, 1e-9);
  EXPECT_NEAR(*s.memory_mape, 20, 1e-9);
  EXPECT_FALSE(s.time_mape);
}

TEST(ValidateScore, StudiesKeepTheOrderOfTheFile) {
  ValidateResult result;
  for (const char* source : {"b", "a", "b"}) {
    result.rows.push_back(timed(1, 1, 1));
    result.rows.back().source = source, result.rows.back().group = "g";
  }
  score_all(result, {});
  ASSERT_EQ(result.studies.size(), 2u);
  EXPECT_EQ(result.studies[0].source, "b");
  EXPECT_EQ(result.studies[0].n, 2);
  ASSERT_EQ(result.groups.size(), 1u);
  EXPECT_EQ(result.overall.n, 3);
}

// Three rows of one set at +10, +20 and +30%, with 4, 5 and 6 of 10 s in gemm; two rows are too few.
TEST(ValidateScore, ErrorsOfOneSignAreNamed) {
  ValidateResult result;
  const auto add = [&](const char* study, double predicted, double gemm) {
    ValidatedRow row = timed(10, 10 / predicted, 1);
    row.study = study, row.group = "g", row.predicted->framework = "f";
    row.predicted->terms = {{"gemm", gemm}, {"host", 1}};
    result.rows.push_back(row);
  };
  add("slow", 1.1, 4), add("slow", 1.2, 5), add("slow", 1.3, 6);
  add("few", 2, 1), add("few", 2, 1);
  score_all(result, {});
  ASSERT_EQ(result.systematic.size(), 1u);
  const Systematic& worst = result.systematic[0];
  EXPECT_EQ(worst.study + "|" + worst.framework + "|" + worst.group, "slow|f|g");
  EXPECT_NEAR(worst.mean, 20, 1e-9);
  EXPECT_EQ(worst.term, "gemm");
  EXPECT_NEAR(worst.share, 50, 1e-9);
}

// Utilisations 1 and 2: hindsight is off by 1/4 on average (constant 2); 5% error is below half of that,
// 20% is not.
TEST(ValidateScore, GroupsAtMostHalfOfHindsight) {
  for (const double error : {0.05, 0.2}) {
    ValidateResult result;
    for (const double seconds : {1.0, 0.5}) {
      result.rows.push_back(timed((1 + error) * seconds, seconds, 1));
      result.rows.back().group = "g";
    }
    score_all(result, {});
    EXPECT_EQ(result.beats_hindsight.size(), error < 0.1 ? 1u : 0u);
    EXPECT_EQ(result.behind_hindsight.size(), error < 0.1 ? 0u : 1u);
  }
}

// A study that ranks five layouts counts, one that ranks four is named.
TEST(ValidateMetrics, MediansOverStudiesThatRankFive) {
  ValidateResult result;
  const auto add = [&](const std::string& study, const Values& predicted, const Values& measured) {
    for (std::size_t i = 0; i < predicted.size(); ++i) {
      ValidatedRow row;
      row.source = study, row.question = "q", row.used = row.in_time = true;
      row.predicted = PredictedRow{};
      row.predicted->step_time_s = predicted[i], row.measured.step_time_s = measured[i];
      row.time_ratio = predicted[i] / measured[i];
      result.rows.push_back(row);
    }
  };
  add("right", {1, 2, 3, 4, 5}, {1, 2, 3, 4, 5});         // tau 1, regret 0
  add("swapped", {2, 1, 3, 4, 5}, {10, 12, 13, 14, 15});  // tau 8/10, regret 20%
  add("few", {4, 3, 2, 1}, {1, 2, 3, 4});
  score_all(result, {});
  EXPECT_EQ(result.ranking, (std::vector<std::string>{"right", "swapped"}));
  EXPECT_EQ(result.too_few, std::vector<std::string>{"few"});
  EXPECT_DOUBLE_EQ(*result.median_tau, 0.9);
  EXPECT_DOUBLE_EQ(*result.median_regret, 10);
}

}  // namespace
}  // namespace tw::validate
