// Rows predicted three times: as the files stand, with constants as fitted without the row's study, and
// with every fitted constant at its neutral value; then scored.
#pragma once

#include "planner/validate/predict_row.hpp"

namespace tw::validate {

// Rows of one study (or all, where `study` is empty): its name, or words of its source.
ValidateResult validate_rows(const std::vector<Row>& rows, const Settings& settings,
                             const std::string& study);

}  // namespace tw::validate
