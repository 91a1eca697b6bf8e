// Answered studies as text and as JSON: figures, which is better, right or wrong, and why.
#pragma once

#include <string>

#include "planner/validate/study_cases.hpp"
#include "topology/json.hpp"

namespace tw::validate {

std::string text_of(const std::vector<AnsweredStudy>& studies);
std::string answer_of(const std::vector<AnsweredStudy>& studies);  // in one sentence
Json json_of(const std::vector<AnsweredStudy>& studies);
// One line per study: sign, pairs, errors; what the golden file holds.
std::string signs_of(const std::vector<AnsweredStudy>& studies);

}  // namespace tw::validate
