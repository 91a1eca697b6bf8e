// Results as JSON: the keys are the contract of --json. Quantities are plain numbers whose key ends
// in the unit.
#pragma once

#include <string>

#include "reports/result.hpp"

namespace tw {

inline constexpr std::string_view kPredictSchema = "trainwright.predict/1",
                                  kPlanSchema = "trainwright.plan/1";

Json to_json(const PredictResult& result);
Json to_json(const PlanResult& result);

}  // namespace tw
