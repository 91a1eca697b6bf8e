// A group that synchronises waits for its slowest member.
#pragma once

#include <cstdint>

namespace tw {

// Expected maximum of n independent standard normal values, n >= 1: the end of the range less the
// integral of their distribution, Phi(x)^n (derived: partial integration).
double expected_maximum(std::int64_t n);
// Inverse of the standard normal distribution function, p in (0, 1).
double normal_quantile(double p);

}  // namespace tw
