// Results as text for people: the answer first, then why.
#pragma once

#include <string>

#include "reports/result.hpp"
#include "reports/table.hpp"

namespace tw {

// `quiet`: the answer line alone.
std::string to_text(const PredictResult& result, const Terminal& terminal, bool quiet);
std::string to_text(const PlanResult& result, const Terminal& terminal, bool quiet);

// The answer in one sentence: the first line of the text, the key `answer` of the JSON.
std::string answer_of(const Prediction& prediction);
std::string answer_of(const CountResult& count);
// What a layout loses to the first of its plan by: "+9 ms (0.2%): recompute +9 ms".
std::string behind_text(const Comparison& comparison, double first_seconds);

// "12.3 s", "845 ms"; "61.2 GiB"; "12,345,678".
std::string seconds_text(double seconds);
std::string gib_text(std::int64_t bytes);
std::string count_text(std::int64_t count);
// "54.3 days", "13.2 h"; "5.33 M USD", "278,634 USD", "12.34 USD"; "2.664 M", "12,345"; "14.8T", "500M".
std::string days_text(Seconds time);
std::string dollars_text(Dollars dollars);
std::string hours_text(double gpu_hours);
std::string tokens_text(std::int64_t tokens);

}  // namespace tw
