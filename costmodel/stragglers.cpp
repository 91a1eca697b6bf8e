#include "costmodel/stragglers.hpp"

#include <cmath>

namespace tw {

// Newton steps on erfc from a logistic start: converges for every p a band or a group asks for.
double normal_quantile(double p) {
  double x = std::log(p / (1 - p)) / 1.702;  // logistic approximation of the normal (Camilli 1994)
  for (int i = 0; i < 50; ++i) {
    const double below = 0.5 * std::erfc(-x / std::sqrt(2.0));
    const double density = std::exp(-x * x / 2) / std::sqrt(2 * M_PI);
    const double step = (below - p) / density;
    // Halley's correction keeps the tails from overshooting.
    const double better = x - step / (1 + x * step / 2);
    if (std::abs(better - x) < 1e-13) return better;
    x = better;
  }
  return x;
}

// Trapezoids over [-kEnd, kEnd]: beyond it the distribution is 0 or 1 to double precision.
double expected_maximum(std::int64_t n) {
  if (n <= 1) return 0;
  constexpr int kSteps = 2000;
  constexpr double kEnd = 10, kStep = 2 * kEnd / kSteps;
  double below = 0.5;  // the ends: 0 and 1
  for (int i = 1; i < kSteps; ++i) {
    const double x = -kEnd + i * kStep;
    below += std::pow(0.5 * std::erfc(-x / std::sqrt(2.0)), static_cast<double>(n));
  }
  return kEnd - below * kStep;
}

}  // namespace tw
