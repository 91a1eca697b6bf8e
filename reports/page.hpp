// One self-contained HTML page of results: opens without a network, in light, dark and print, on a phone.
#pragma once

#include <string>
#include <vector>

#include "reports/section.hpp"

namespace tw {

// `results`: as --json wrote them, of any kinds. InputError where one is none of ours, or where the chart
// library (Vega, Vega-Lite and Vega-Embed of npm) is not installed beside the program.
std::string page_of(const std::vector<JsonView>& results);

}  // namespace tw
