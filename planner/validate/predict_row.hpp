// One row through the cost model: filled in, predicted, held against what was measured.
#pragma once

#include "costmodel/calibration.hpp"
#include "planner/validate/result.hpp"
#include "planner/validate/scenarios.hpp"

namespace tw::validate {

struct Settings {
  std::string framework, calibration;  // empty: by the row's source and GPU
};

// Never throws for what a row says: a row that cannot be used says why.
ValidatedRow predict_row(const Row& row, Scenarios& scenarios, const Settings& settings);

}  // namespace tw::validate
