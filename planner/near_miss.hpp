// Why a layout that memory refused did not make it, and the one change that would save it.
#pragma once

#include "planner/enumerate.hpp"
#include "reports/result.hpp"

namespace tw {

// The remedy is the fastest legal layout that fits and differs in recompute, zero or mb (with the
// micro-batches that follow) alone, within what the space allows.
NearMiss explain_miss(Evaluator& evaluator, const SearchSpace& space, const Layout& layout);

}  // namespace tw
