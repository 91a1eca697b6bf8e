// The whatif command as a function: a question and what to vary in, a full plan at every point out.
#pragma once

#include "planner/whatif/vary.hpp"
#include "reports/whatif_result.hpp"

namespace tw {

struct WhatifSettings {
  std::vector<VaryAxis> axes;
  std::string fixed;
  std::string calibration;  // as asked; empty: the cluster's
  bool progress = false;    // on standard error
};

inline constexpr std::size_t kMostPoints = 4096;

WhatifResult make_whatif(const Inputs& inputs, const WhatifSettings& settings);

}  // namespace tw
