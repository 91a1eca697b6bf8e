// What may be varied: one row per name, each reading a value and changing the cluster or the job by it.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "planner/problem.hpp"

namespace tw {

// A question with its changes, not yet a Problem.
struct Varied {
  Inputs inputs;
  std::int32_t gpus = 0;
  std::int32_t lost_rails = 0;
};

struct Variable {
  std::string_view name, help;
  void (*apply)(Varied& point, std::string_view value);  // InputError says what is legal
  bool recalibrates = false;                             // changes the GPU: its calibration is loaded anew
};
std::span<const Variable> variables();

// One --vary: a name and its values, in the order given.
struct VaryAxis {
  const Variable* variable = nullptr;
  std::vector<std::string> values;
};
VaryAxis parse_vary(const std::string& text);  // "nvlink_domain=8,72"

// The question with one value of each axis.
Varied varied(const Inputs& inputs, std::int32_t gpus, const std::string& calibration,
              const std::vector<VaryAxis>& axes, const std::vector<std::size_t>& at);

}  // namespace tw
