// A measured step, and a profile of it, beside the predicted one.
#pragma once

#include "reports/check_result.hpp"

namespace tw::preflight {

struct MeasuredAsk {
  std::string step, profile;  // "12.3 s"; a trace's path, or empty
};
// Needs result.prediction.
void judge_measured(const MeasuredAsk& ask, CheckResult& result);

}  // namespace tw::preflight
