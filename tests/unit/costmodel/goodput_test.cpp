#include "costmodel/goodput.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace tw {
namespace {

// A day between failures, five minutes to write, ten to restart.
constexpr Failures kDaily{Seconds(86400), Seconds(300), Seconds(600)};

TEST(Goodput, IntervalsByHand) {
  // sqrt(2 x 300 x 86400) = sqrt(51,840,000) = 7200.
  EXPECT_DOUBLE_EQ(young_interval(kDaily).value, 7200);
  // write / 2M = 1/576, its root 1/24: 7200 (1 + 1/72 + 1/5184) - 300 = 7200 + 100 + 25/18 - 300.
  EXPECT_NEAR(daly_interval(kDaily).value, 7000 + 25.0 / 18, 1e-9);
  // A checkpoint that takes twice the time between failures or more.
  EXPECT_EQ(daly_interval({Seconds(100), Seconds(200), Seconds(0)}).value, 100);
}

TEST(Goodput, ByHand) {
  // interval = write = M ln(2)/2, so e^((interval + write)/M) = 2: goodput = ln(2)/2 / (2 - 1), restarts
  // apart.
  const double half = 500 * std::log(2.0);
  EXPECT_NEAR(goodput({Seconds(1000), Seconds(half), Seconds(0)}, Seconds(half)), std::log(2.0) / 2, 1e-12);
  // A restart of M ln(2) halves it.
  EXPECT_NEAR(goodput({Seconds(1000), Seconds(half), Seconds(2 * half)}, Seconds(half)), std::log(2.0) / 4,
              1e-12);
  // Checkpoints for nothing: the limit of no interval, restarts alone.
  EXPECT_NEAR(goodput({Seconds(1000), Seconds(0), Seconds(2 * half)}, Seconds(0)), 0.5, 1e-12);
  // Hardly any failures: the share of work in a segment.
  EXPECT_NEAR(goodput({Seconds(1e12), Seconds(1), Seconds(1)}, Seconds(9)), 0.9, 1e-9);
}

TEST(Goodput, DalysIntervalLosesLeastAndYoungsIsClose) {
  for (const double write : {1.0, 60.0, 900.0}) {
    const Failures f{Seconds(20000), Seconds(write), Seconds(600)};
    const double best = goodput(f, daly_interval(f));
    EXPECT_GT(best, goodput(f, daly_interval(f) * 1.2));
    EXPECT_GT(best, goodput(f, daly_interval(f) * 0.8));
    EXPECT_NEAR(best, goodput(f, young_interval(f)), 0.01);
  }
}

// Plays failures: exponential times, any of which may fall into work, a checkpoint or a restart.
double played(const Failures& f, Seconds interval, std::int64_t segments, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::exponential_distribution<double> next(1 / f.between.value);
  double clock = 0, failure = next(random);
  const auto lasts = [&](double time) {
    if (clock + time <= failure) {
      clock += time;
      return true;
    }
    clock = failure, failure = clock + next(random);
    return false;
  };
  for (std::int64_t done = 0; done < segments;) {
    if (lasts((interval + f.write).value)) {
      ++done;
      continue;
    }
    while (!lasts(f.restart.value)) {
    }
  }
  return static_cast<double>(segments) * interval.value / clock;
}

TEST(Goodput, IsThatOfASeededMonteCarloWithinOnePerCent) {
  // Of 16,384 GPUs, of 2,048, and of a job that fails within every other checkpoint.
  for (const Failures& f : {Failures{Seconds(11135), Seconds(2.4), Seconds(630)},
                            Failures{Seconds(89000), Seconds(35), Seconds(630)},
                            Failures{Seconds(1000), Seconds(500), Seconds(300)}}) {
    for (const double longer : {0.5, 1.0, 3.0}) {
      const Seconds interval = daly_interval(f) * longer;
      const double formula = goodput(f, interval);
      EXPECT_NEAR(played(f, interval, 300'000, 7) / formula, 1, 0.01)
          << to_string(f.between) << " x" << longer;
    }
  }
}

TEST(Goodput, ErlangByHand) {
  EXPECT_EQ(erlang_b(0, 3), 1);
  EXPECT_DOUBLE_EQ(erlang_b(1, 1), 0.5);
  EXPECT_DOUBLE_EQ(erlang_b(2, 1), 0.2);
  // (2^3/3!) / (1 + 2 + 2 + 4/3) = 4/19.
  EXPECT_DOUBLE_EQ(erlang_b(3, 2), 4.0 / 19);
  EXPECT_EQ(erlang_b(5, 0), 0);
}

}  // namespace
}  // namespace tw
