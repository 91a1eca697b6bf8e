// Two priced layouts beside each other: what one loses by, in which terms, and whether the model can
// tell. What both take from one curve is wrong in both alike, so only the difference of errors counts.
#pragma once

#include <vector>

#include "costmodel/cost.hpp"

namespace tw {

struct TermDifference {
  Term term = Term::gemm;
  double seconds = 0;  // of the second over the first
};

struct Comparison {
  double seconds = 0;                 // the second's step minus the first's
  double spread = 0;                  // one standard deviation of that, shared curves cancelled
  bool distinguishable = false;       // zero lies outside the 80% band of the difference
  std::vector<TermDifference> terms;  // by size of the difference, largest first; zeros left out
};

// `whole_spread`: StepContext::spread, the same error for both.
Comparison compare(const Cost& first, const Cost& second, double whole_spread);

}  // namespace tw
