// Scores of a set of validated rows: one study, one group of hardware and precision, or all.
#pragma once

#include "planner/validate/fitted.hpp"
#include "planner/validate/result.hpp"

namespace tw::validate {

bool inside_band(const PredictedRow& predicted, double seconds);
Score score(std::string name, const std::vector<const ValidatedRow*>& rows);
// Fills studies (in order of first row), groups, overall and medians of ranks.
void score_all(ValidateResult& result, const std::vector<Study>& studies);

}  // namespace tw::validate
