// Which rows are wrong together: the largest mean errors of one study, framework and group (GPU, dense or
// MoE, precision), and the term that their predicted steps spend most time in.
#pragma once

#include "planner/validate/result.hpp"

namespace tw::validate {

// The three largest by |mean|, of sets of three rows or more.
std::vector<Systematic> systematic_errors(const std::vector<ValidatedRow>& rows);

}  // namespace tw::validate
