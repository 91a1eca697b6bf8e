// Exhaustive search: every layout of a space, memory before time, the best by step time, then by peak
// memory. The same question gives the same answer; ties go to what the enumerator names first.
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
  std::vector<RankedLayout> best;     // fastest first
  std::vector<NearMiss> near_misses;  // see CountResult
  std::string nothing_legal;          // why, where no layout is legal
};

// Called now and then with the share of the space that is done, 0 to 1.
using ProgressReport = std::function<void(double share)>;

// What to look for. Quick: layouts whose lower bound lies above the best are not priced, and near misses
// are looked for only where nothing fits; the best are the same.
struct Wanted {
  std::size_t top = 10;
  bool quick = false;
};

SearchResult search(const Problem& problem, const SearchSpace& space, const Wanted& wanted,
                    const ProgressReport& report);

// Several numbers of GPUs at once, of one model, sequence, framework and calibration: what one search computes
// of a layer serves the others. Each result is that of its own search.
struct SearchTask {
  const Problem* problem = nullptr;
  SearchSpace space;
};
std::vector<SearchResult> search_together(const std::vector<SearchTask>& tasks, const Wanted& wanted,
                                          const ProgressReport& report);

}  // namespace tw
