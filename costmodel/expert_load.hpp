// How tokens choose experts: the part of a layer's copies that each expert gets. Patterns are the folder
// loads/; a trace of a run is a file (schema trainwright.expert-load/1): counts per step, layer and expert.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "costmodel/model.hpp"

namespace tw {

struct LoadAsk {
  std::int32_t experts = 1, layer = 0;
  std::int64_t step = 0;
  double parameter = 0;
  std::uint64_t seed = 1;
};
struct ExpertLoad {
  std::string_view name;
  int order;  // of display
  std::string_view help;
  double parameter, least, most;  // of NAME:PARAMETER: left out, and what is legal; all 0: there is none
  std::vector<double> (*shares)(const LoadAsk& ask);  // in any unit
};
std::span<const ExpertLoad* const> all_loads();

// Shares that sum to 1 by layer of the model, empty where a layer has no experts. A token takes an expert
// once: none gets more than 1/top_k (patterns: the rest goes to the others; a file that says so is refused).
// Text: a name of the folder, NAME:PARAMETER, or a file. InputError at `option` or in the file.
std::vector<std::vector<double>> expert_shares(const Model& model, std::string_view option,
                                               const std::string& text, std::int64_t step,
                                               std::uint64_t seed);

// Popularity of the nth most popular expert as 1/n^exponent (Zipf's law).
std::vector<double> zipf_shares(std::int32_t experts, double exponent);
// An order of the experts that differs by layer.
std::vector<std::int32_t> shuffled_experts(std::int32_t experts, std::int32_t layer, std::uint64_t seed);

}  // namespace tw
