// A table of typed cells: what a chart draws and what a reader can look up are the same rows.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "topology/json.hpp"

namespace tw {

// How numbers of a column are written for people. Units of the numbers: seconds, GiB, days, hours, USD;
// percent of a share.
enum class Show : std::uint8_t { text, count, number, seconds, percent, gib, days, gpu_hours, dollars };

struct DataColumn {
  std::string key, title;
  Show show = Show::text;
};

using Cell = std::variant<std::monostate, double, std::string>;  // monostate: nothing to say

class DataTable {
 public:
  explicit DataTable(std::vector<DataColumn> columns) : columns_(std::move(columns)) {}
  void row(std::vector<Cell> cells);
  bool empty() const { return rows_.empty(); }
  std::size_t size() const { return rows_.size(); }
  std::size_t distinct(std::string_view key) const;  // values of a column
  bool has(std::string_view key, std::string_view text) const;

  Json values() const;  // an array of objects, raw numbers: a chart's data
  std::string html() const;

 private:
  std::size_t index_of(std::string_view key) const;

  std::vector<DataColumn> columns_;
  std::vector<std::vector<Cell>> rows_;
};

// Text inside an element or a quoted attribute.
std::string escaped(std::string_view text);

}  // namespace tw
