#include "calibrate/measure/samples.hpp"

#include <algorithm>
#include <cmath>

namespace tw {

Summary summary_of(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  const auto at = [&](double share) {
    return seconds[static_cast<std::size_t>(share * static_cast<double>(seconds.size() - 1) + 0.5)];
  };
  Summary out;
  out.median = at(0.5), out.fast = at(0.1), out.count = static_cast<int>(seconds.size());
  if (out.median > 0) out.spread = (at(0.84) - at(0.16)) / 2 / out.median;
  return out;
}

// The median of n draws from a normal distribution has 1.25 times the standard error of their mean.
double Samples::worst_error(double share) const {
  double whole = 0, worst = 0;
  std::vector<std::pair<double, double>> each;  // seconds of all draws, relative error
  for (const auto& [key, times] : times_) {
    const Summary s = summary_of(times);
    each.push_back({s.median * s.count, 1.25 * s.spread / std::sqrt(s.count)});
    whole += each.back().first;
  }
  for (const auto& [seconds, error] : each) {
    if (seconds >= share * whole) worst = std::max(worst, error);
  }
  return worst;
}

}  // namespace tw
