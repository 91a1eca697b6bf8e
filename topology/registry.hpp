// Registries are folders. Code: every DIR/*.cpp defines one constinit row (name, order, ...), CMake
// lists them into a table. Data: every scenarios/KIND/NAME.json.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tw {

// The rows of a folder in their display order.
template <class Row>
std::vector<const Row*> in_display_order(std::span<const Row* const> rows) {
  std::vector<const Row*> sorted(rows.begin(), rows.end());
  std::sort(sorted.begin(), sorted.end(), [](const Row* a, const Row* b) {
    return a->order != b->order ? a->order < b->order : a->name < b->name;
  });
  return sorted;
}

// nullptr where no row has the name.
template <class Row>
const Row* find_row(std::span<const Row* const> rows, std::string_view name) {
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const Row* row) { return row->name == name; });
  return found == rows.end() ? nullptr : *found;
}

// "a, b, c" for messages that list what is legal.
std::string joined(const std::vector<std::string>& names);
template <class Row>
std::string names_of(std::span<const Row* const> rows) {
  std::vector<std::string> names;
  for (const Row* row : in_display_order(rows)) names.emplace_back(row->name);
  return joined(names);
}

// scenarios/, found upwards from the executable (build tree) or in ../share/trainwright (installed).
const std::string& scenarios_folder();
// Sorted names of scenarios/KIND/*.json.
std::vector<std::string> scenario_names(std::string_view kind);
// The file of a name of scenarios/KIND, or of a path given as it is; InputError lists the names.
std::string scenario_path(std::string_view kind, std::string_view name_or_path);

}  // namespace tw
