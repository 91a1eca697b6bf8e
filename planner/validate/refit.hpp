// Fits every constant of scenarios/published/fitted.json anew: to all of its rows, and with each of its
// studies left out. The error of a constant is the scoreboard's, mean |predicted/measured - 1|, each
// study weighing the same; the search is a scan of the allowed range, then golden sections, one constant
// after another until none moves. Values are tried in memory: no file is written.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "planner/validate/fitted.hpp"

namespace tw::validate {

// The list with values and left_out as fitted now. `progress` gets a line per fit.
FittedList refit(const std::vector<Row>& rows, FittedList list,
                 const std::function<void(const std::string&)>& progress);

// Value now and fitted, range, and the range of values with a study left out.
std::string text_of(const FittedList& now, const FittedList& fitted);

// The least of a function with one valley in [low, high], at three significant digits: 9 points, then
// golden sections (Kiefer 1953) between the neighbours of the least of them.
double least_at(double low, double high, const std::function<double(double)>& of);

// Winkler's score of a central 80% interval (Gneiting & Raftery 2007, equation 43), for a measured value
// that is `off` from the middle of a band of `half`: the width, and 10 times what lies outside.
double interval_score(double half, double off);

}  // namespace tw::validate
