// What `whatif` answers, as values: one point per combination of values, each with the layout that wins
// there, and where the winner changes. whatif_json.cpp and whatif_text.cpp print it.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "reports/result.hpp"
#include "reports/table.hpp"
#include "topology/json.hpp"

namespace tw {

enum class Resource : std::uint8_t { compute, memory_rate, nvlink, network, pipeline, host, stragglers };
inline constexpr int kResources = 7;
std::string_view name_of(Resource resource);

// The step's exposed seconds by what a faster one of would shorten it; they sum to the step.
using ResourceSeconds = std::array<double, kResources>;

struct WhatifPoint {
  std::vector<std::string> values;  // one per axis
  std::int32_t gpus = 0, gpus_per_node = 0;
  Searched searched;
  std::optional<Prediction> best;
  std::string why_not;  // where nothing fits
  ResourceSeconds resources{};
};

// From one point to its neighbour along one axis, where another layout wins.
struct WinnerChange {
  std::size_t axis = 0, from = 0, to = 0;  // points
  std::string keys;                        // "ep 8 -> 32, pp 16 -> 8"
  bool old_fits = false;                   // the layout of `from` at `to`: legal and in memory
  Comparison behind;                       // what it loses by there
};

struct WhatifResult {
  Question question;
  std::string fixed;
  std::vector<std::string> axes;
  std::vector<WhatifPoint> points;  // the last axis moves fastest
  std::vector<WinnerChange> changes;
  double seconds = 0;  // of wall time
};

std::string answer_of(const WhatifResult& result);    // in one sentence
std::string behind_text(const WinnerChange& change);  // what the old winner loses there
Json to_json(const WhatifResult& result);
std::string to_text(const WhatifResult& result, const Terminal& terminal, bool quiet);

}  // namespace tw
