// What a simulated step answers: as values.
#pragma once

#include <string>
#include <vector>

#include "reports/result.hpp"
#include "reports/table.hpp"
#include "topology/json.hpp"

namespace tw {

struct SimTerm {
  std::string name, help;
  double seconds = 0;  // at work, or waited for
};
struct SimLinkUse {
  std::string name;
  double busy = 0;  // part of the step in which it would be busy at its full rate
};
struct SimMemory {
  std::int32_t rank = 0, stage = 0;
  std::int64_t peak = 0;
  double at_seconds = 0;
  std::vector<std::pair<std::string, std::int64_t>> owners;  // the largest first
};

struct SimResult {
  Question question;
  Layout layout;
  bool fits = true, contention = true, unfolded = false;
  double step_seconds = 0, played_seconds = 0, straggler_seconds = 0;
  double closed_seconds = 0;
  std::vector<std::pair<std::string, std::string>> conditions;  // what was asked for beside the layout
  std::int32_t ranks = 0, players = 0;
  std::int32_t last_rank = 0;                           // that ends last, or of those the first
  std::int64_t events = 0, operations = 0, listed = 0;  // listed: of the Program's lists
  std::int64_t bytes_per_operation = 0, bytes_per_rank = 0;
  std::vector<SimTerm> terms;     // of the last rank, the longest first
  std::vector<SimLinkUse> links;  // the busiest first
  std::vector<SimMemory> memory;  // with a timeline
};

std::string to_text(const SimResult& result, double wall_seconds, const Terminal& terminal, bool quiet);
Json to_json(const SimResult& result);

}  // namespace tw
