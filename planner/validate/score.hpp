// Scores of a set of validated rows: one study, one group of hardware and precision, or all.
#pragma once

#include "planner/validate/result.hpp"

namespace tw::validate {

Score score(std::string name, const std::vector<const ValidatedRow*>& rows);
// Fills studies (in order of first row), groups and overall.
void score_all(ValidateResult& result);

}  // namespace tw::validate
