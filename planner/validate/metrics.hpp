// The metrics of the scoreboard, on plain numbers. Every one answers nothing where it has no data.
#pragma once

#include <optional>
#include <span>
#include <vector>

namespace tw::validate {

// Mean of |ratio - 1|, ratio = predicted over measured.
std::optional<double> mean_error(std::span<const double> ratios);
std::optional<double> worst_error(std::span<const double> ratios);
std::optional<double> median(std::vector<double> values);

// Kendall's tau-b (Kendall 1945): (C - D) / sqrt((P - tied in x) (P - tied in y)) over all P pairs.
struct PairCounts {
  double concordant = 0, discordant = 0, untied_x = 0, untied_y = 0;
  PairCounts& operator+=(const PairCounts& other);
};
PairCounts count_pairs(std::span<const double> x, std::span<const double> y);
std::optional<double> kendall_tau(const PairCounts& pairs);

// Measured time of the predicted best over the best measured, minus 1. Needs two or more.
std::optional<double> top1_regret(std::span<const double> predicted, std::span<const double> measured);

// The least mean |u_i/c - 1| over constants c: what one utilisation chosen with hindsight gets.
// The sum is piecewise monotone between the u_i, so one of them is best (derived).
std::optional<double> hindsight_error(std::span<const double> utilisations);

}  // namespace tw::validate
