// A group that synchronises waits for its slowest member.
#pragma once

#include <cstdint>

namespace tw {

// Expected maximum of n independent standard normal values, n >= 1 (Blom 1958: the quantile of
// (n - 3/8) / (n + 1/4); within 0.02 for n up to 100,000).
double expected_maximum(std::int64_t n);
// Inverse of the standard normal distribution function, p in (0, 1).
double normal_quantile(double p);

}  // namespace tw
