#include "planner/validate/metrics.hpp"

#include <algorithm>
#include <cmath>

#include "topology/check.hpp"

namespace tw::validate {

std::optional<double> mean_error(std::span<const double> ratios) {
  if (ratios.empty()) return std::nullopt;
  double sum = 0;
  for (const double ratio : ratios) sum += std::abs(ratio - 1);
  return sum / static_cast<double>(ratios.size());
}

std::optional<double> worst_error(std::span<const double> ratios) {
  if (ratios.empty()) return std::nullopt;
  double worst = 0;
  for (const double ratio : ratios) worst = std::max(worst, std::abs(ratio - 1));
  return worst;
}

std::optional<double> median(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

PairCounts& PairCounts::operator+=(const PairCounts& other) {
  concordant += other.concordant, discordant += other.discordant;
  untied_x += other.untied_x, untied_y += other.untied_y;
  return *this;
}

PairCounts count_pairs(std::span<const double> x, std::span<const double> y) {
  TW_CHECK(x.size() == y.size());
  PairCounts out;
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (std::size_t j = i + 1; j < x.size(); ++j) {
      const double dx = x[i] - x[j], dy = y[i] - y[j];
      out.untied_x += dx != 0, out.untied_y += dy != 0;
      out.concordant += dx * dy > 0, out.discordant += dx * dy < 0;
    }
  }
  return out;
}

std::optional<double> kendall_tau(const PairCounts& pairs) {
  const double scale = std::sqrt(pairs.untied_x * pairs.untied_y);
  if (scale <= 0) return std::nullopt;
  return (pairs.concordant - pairs.discordant) / scale;
}

std::optional<double> top1_regret(std::span<const double> predicted, std::span<const double> measured) {
  TW_CHECK(predicted.size() == measured.size());
  if (predicted.size() < 2) return std::nullopt;
  const auto pick = std::min_element(predicted.begin(), predicted.end()) - predicted.begin();
  const double best = *std::min_element(measured.begin(), measured.end());
  return measured[static_cast<std::size_t>(pick)] / best - 1;
}

std::optional<double> hindsight_error(std::span<const double> utilisations) {
  if (utilisations.empty()) return std::nullopt;
  double least = -1;
  for (const double constant : utilisations) {
    double sum = 0;
    for (const double each : utilisations) sum += std::abs(each / constant - 1);
    if (least < 0 || sum < least) least = sum;
  }
  return least / static_cast<double>(utilisations.size());
}

}  // namespace tw::validate
