// Results as text for people: the answer first, then why.
#pragma once

#include <string>

#include "reports/result.hpp"
#include "reports/table.hpp"

namespace tw {

// `quiet`: the answer line alone.
std::string to_text(const PredictResult& result, const Terminal& terminal, bool quiet);
std::string to_text(const PlanResult& result, const Terminal& terminal, bool quiet);

// "12.3 s", "845 ms"; "61.2 GiB"; "12,345,678".
std::string seconds_text(double seconds);
std::string gib_text(std::int64_t bytes);
std::string count_text(std::int64_t count);

}  // namespace tw
