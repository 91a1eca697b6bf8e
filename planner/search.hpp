// Exhaustive search: every layout of a space, memory before time, the best by step time. The same
// question gives the same answer, ties going to the layout that the enumerator names first.
#pragma once

#include <functional>

#include "planner/enumerate.hpp"
#include "planner/problem.hpp"

namespace tw {

struct RankedLayout {
  Layout layout;
  Cost cost;
};

struct SearchResult {
  Searched searched;
  std::vector<RankedLayout> best;         // fastest first
  std::vector<NearMiss> near_misses;      // least over the limit first; their times are predicted too
};

// Called now and then with the share of the space that is done, 0 to 1.
using ProgressReport = std::function<void(double share)>;

SearchResult search(const Problem& problem, const SearchSpace& space, std::size_t top, const ProgressReport& report);

}  // namespace tw
