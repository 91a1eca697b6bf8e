#include "costmodel/compare.hpp"

#include <algorithm>
#include <cmath>

#include "costmodel/prediction.hpp"

namespace tw {

// Derived: with e_c the relative error of curve c, both steps move by e_c times their seconds on it,
// so the difference has the deviation of the difference of their errors; curves add in squares.
Comparison compare(const Cost& first, const Cost& second, double whole_spread) {
  Comparison out;
  out.seconds = second.step_seconds - first.step_seconds;
  double variance = whole_spread * out.seconds * whole_spread * out.seconds;
  for (std::size_t i = 0; i < kCurves; ++i) {
    const double error = double{second.terms.error[i]} - first.terms.error[i];
    variance += error * error;
  }
  out.spread = std::sqrt(variance);
  out.distinguishable = std::abs(out.seconds) > kBand80 * out.spread;
  for (std::size_t i = 0; i < kTerms; ++i) {
    const double seconds = double{second.terms.exposed[i]} - first.terms.exposed[i];
    if (seconds != 0) out.terms.push_back({static_cast<Term>(i), seconds});
  }
  std::stable_sort(out.terms.begin(), out.terms.end(), [](const TermDifference& a, const TermDifference& b) {
    return std::abs(a.seconds) > std::abs(b.seconds);
  });
  return out;
}

}  // namespace tw
