// The scoreboard as an aligned text table, and everything as JSON by the contract of cli.md's validate.
#pragma once

#include <string>

#include "planner/validate/result.hpp"
#include "topology/json.hpp"

namespace tw::validate {

// Studies, groups, overall; with `rows` one line per row too.
std::string text_of(const ValidateResult& result, bool rows);
std::string answer_of(const ValidateResult& result);  // in one sentence
Json json_of(const ValidateResult& result);
// The scoreboard as the table of README.md.
std::string markdown_of(const ValidateResult& result);
// Study, rows used of total, MAPE, worst, memory MAPE, fits: what the golden scoreboard holds.
std::string scoreboard_of(const ValidateResult& result);

}  // namespace tw::validate
