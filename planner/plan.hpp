// The plan command as a function: a question over one or several numbers of GPUs in, ranked and
// explained layouts out.
#pragma once

#include "planner/problem.hpp"

namespace tw {

inline constexpr std::size_t kMostSimulated = 20;

enum class Objective : unsigned char {
  time,  // least seconds per step
  cost,  // least GPU-seconds per step
  gpus   // fewest GPUs that fit
};
Objective parse_objective(const std::string& text);  // InputError

struct PlanSettings {
  std::vector<std::int32_t> gpus;  // rising
  std::string fixed;
  Objective objective = Objective::time;
  std::size_t top = 10;
  bool simulate = false;  // the first kMostSimulated of them are also played, with links shared
  bool progress = false;  // on standard error
};

// "64", "64,128,256", or "64..1024" for doublings. InputError says what is legal.
std::vector<std::int32_t> parse_gpus(const std::string& text);

PlanResult make_plan(const Inputs& inputs, const PlanSettings& settings);

}  // namespace tw
