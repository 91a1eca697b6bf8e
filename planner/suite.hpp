// The fixed suite of planning problems behind `trainwright bench`: what was visited and chosen, as a
// signature that depends on no timing. The same signature is the proof of a refactoring.
#pragma once

#include <string>
#include <vector>

#include "reports/result.hpp"

namespace tw {

struct SuiteRow {
  std::string problem;
  Searched searched;
  std::string best;  // layout, or empty
  double step_seconds = 0;
  std::string signature;  // of this problem
};

std::vector<std::string> suite_problems();
SuiteRow run_suite_problem(std::size_t index);
// Over all rows: counts, chosen layouts, and step times and peaks to 6 digits.
std::string signature_of(const std::vector<SuiteRow>& rows);

}  // namespace tw
