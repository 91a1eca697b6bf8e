#include "costmodel/goodput.hpp"

#include <cmath>

#include "topology/check.hpp"

namespace tw {

Seconds young_interval(const Failures& f) {
  return Seconds(std::sqrt(2 * f.write.value * f.between.value));
}

Seconds daly_interval(const Failures& f) {
  const double half = f.write / (2 * f.between);
  if (half >= 1) return f.between;
  return young_interval(f) * (1 + std::sqrt(half) / 3 + half / 9) - f.write;
}

double goodput(const Failures& f, Seconds interval) {
  TW_CHECK(f.between.value > 0 && interval.value >= 0 && interval + f.write >= interval);
  const double restarts = std::exp(-(f.restart / f.between));
  const double segment = std::expm1((interval + f.write) / f.between);
  // Checkpoints that cost nothing: as often as one likes.
  if (segment == 0) return restarts;
  return restarts * (interval / f.between) / segment;
}

double erlang_b(std::int32_t servers, double load) {
  TW_CHECK(servers >= 0 && load >= 0);
  double blocked = 1;
  for (std::int32_t n = 1; n <= servers; ++n) blocked = load * blocked / (n + load * blocked);
  return blocked;
}

}  // namespace tw
