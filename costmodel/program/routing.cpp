#include "costmodel/program/routing.hpp"

#include <cmath>
#include <numbers>

namespace tw {

double deviation_if_alike(const Moe& moe, std::int32_t ep) {
  const double share = 1.0 / ep, k = moe.top_k, all = moe.experts;
  if (ep < 2 || all < 2) return 0;
  const double variance = k * share * (1 - share) * (all - k) / (all - 1);
  return std::sqrt(variance) / (k * share);
}

double mean_absolute_of_normal() {
  return std::sqrt(2 / std::numbers::pi);
}

// The mean of the largest of n independent ones is the integral of x d(F(x)^n); that the n sum to zero takes
// a part 1/n of each one's variance away.
double largest_of_normals(std::int32_t ep) {
  if (ep < 2) return 0;
  constexpr double kEnd = 8, kStep = 1.0 / 64;
  const auto below = [](double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); };
  double mean = 0;
  for (double x = -kEnd; x < kEnd; x += kStep)
    mean += (x + kStep / 2) * (std::pow(below(x + kStep), ep) - std::pow(below(x), ep));
  return mean * std::sqrt(ep / (ep - 1.0));
}

Routing for_ranks(Routing routing, const Moe* moe, std::int32_t ep) {
  if (routing.likeness > 0 && moe != nullptr)
    routing.max_over_mean = 1 + routing.likeness * largest_of_normals(ep) * deviation_if_alike(*moe, ep);
  return routing;
}

}  // namespace tw
