// A section of the page: one file of sections/ each. It reads a result as --json writes it and says, in
// order, sentences, charts and tables; none where that result has nothing for it.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "costmodel/layout/layout.hpp"
#include "reports/data_table.hpp"
#include "topology/json.hpp"

namespace tw {

// A Vega-Lite chart of the rows of `data`. `marks`: the spec without data, size and colours of the page
// (a mark and its encoding, or layers). `says` is read to those who do not see it.
struct Chart {
  std::string caption, says;
  DataTable data;
  Json marks;
  int height = 0;          // pixels: of the whole, or of each value of `lines`
  std::string lines = {};  // a column of which each value is a line of the chart
  bool unfolded = false;   // its table is shown at once
};

struct Listed {
  std::string caption;
  DataTable data;
  bool folded = false;  // opened by the reader
};

using Piece = std::variant<std::string, Chart, Listed>;

struct Section {
  std::string_view name;
  int order;  // of display
  std::string_view title;
  std::vector<Piece> (*build)(const JsonView& result);
};
std::span<const Section* const> all_sections();

// The layout that a result of any kind recommends, with what its pictures need.
struct Winner {
  JsonView prediction;
  std::int32_t gpus = 0, gpus_per_node = 0, nics_per_node = 0;
};
std::optional<Winner> winner_of(const JsonView& result);
Layout layout_of(const Winner& winner);

// What kind of result: "plan", "size", "whatif", ...; InputError where it is none of ours.
std::string kind_of(const JsonView& result);
// A number of a result that --json wrote; InputError where it is none.
double number_at(const JsonView& object, std::string_view key);
std::optional<double> number_if(const JsonView& object, std::string_view key);
Cell cell_at(const JsonView& object, std::string_view key);  // empty where there is no number
std::int32_t count_at(const JsonView& object, std::string_view key, std::int32_t low, std::int32_t high);

}  // namespace tw
