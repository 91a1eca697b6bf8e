#include "reports/data_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "reports/text.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

constexpr double kMostDigits = 1000;  // from here on whole numbers say enough

std::string written(double value, Show show) {
  switch (show) {
    case Show::text:
    case Show::number:
      return std::abs(value) < kMostDigits ? fmt::format("{:.3g}", value) : count_text(std::llround(value));
    case Show::count:
      return count_text(std::llround(value));
    case Show::seconds:
      return seconds_text(value);
    case Show::percent:
      return fmt::format("{:.1f}%", 100 * value);
    case Show::gib:
      return fmt::format("{:.1f}", value);
    case Show::days:
      return fmt::format("{:.1f}", value);
    case Show::gpu_hours:
      return hours_text(value);
    case Show::dollars:
      return dollars_text(Dollars(value));
  }
  return {};
}

std::string cell_html(const Cell& cell, Show show) {
  const auto* number = std::get_if<double>(&cell);
  const auto* text = std::get_if<std::string>(&cell);
  if (number) return "<td class=n>" + written(*number, show) + "</td>";
  constexpr std::size_t kLong = 24;  // characters: such a cell may break its lines
  if (text && text->size() > kLong) return "<td class=l>" + escaped(*text) + "</td>";
  return "<td>" + (text ? escaped(*text) : std::string()) + "</td>";
}

}  // namespace

void DataTable::row(std::vector<Cell> cells) {
  TW_CHECK(cells.size() == columns_.size());
  rows_.push_back(std::move(cells));
}

std::size_t DataTable::index_of(std::string_view key) const {
  const auto found = std::find_if(columns_.begin(), columns_.end(),
                                  [&](const DataColumn& column) { return column.key == key; });
  TW_CHECK(found != columns_.end());
  return static_cast<std::size_t>(found - columns_.begin());
}

std::size_t DataTable::distinct(std::string_view key) const {
  const std::size_t i = index_of(key);
  std::set<Cell> values;
  for (const auto& cells : rows_) values.insert(cells[i]);
  return values.size();
}

bool DataTable::has(std::string_view key, std::string_view text) const {
  const std::size_t i = index_of(key);
  return std::any_of(rows_.begin(), rows_.end(),
                     [&](const auto& cells) { return cells[i] == Cell(std::string(text)); });
}

Json DataTable::values() const {
  Json out = Json::array();
  for (const auto& cells : rows_) {
    Json one = Json::object();
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (const auto* number = std::get_if<double>(&cells[i])) one.set(columns_[i].key, *number);
      if (const auto* text = std::get_if<std::string>(&cells[i])) one.set(columns_[i].key, *text);
    }
    out.push(one);
  }
  return out;
}

std::string DataTable::html() const {
  std::string out = "<table><thead><tr>";
  for (const DataColumn& column : columns_)
    out += fmt::format("<th scope=col{}>{}</th>", column.show == Show::text ? "" : " class=n",
                       escaped(column.title));
  out += "</tr></thead><tbody>";
  for (const auto& cells : rows_) {
    out += "\n<tr>";
    for (std::size_t i = 0; i < cells.size(); ++i) out += cell_html(cells[i], columns_[i].show);
    out += "</tr>";
  }
  return out + "</tbody></table>";
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace tw
