// Charts as Vega-Lite specs, and the library that draws them. Colours are the page's CSS variables, so one
// drawing serves light, dark and print.
#pragma once

#include <string>

#include "reports/section.hpp"

namespace tw {

Json spec_of(const Chart& chart);

// The colour channel of a column with fixed colours: of the values that the rows have, in this order.
struct Colour {
  std::string_view value, css;
};
Json coloured(const DataTable& data, std::string_view key, std::initializer_list<Colour> colours);

// Vega, Vega-Lite and Vega-Embed as one script; InputError where they are not installed.
std::string chart_library();

}  // namespace tw
