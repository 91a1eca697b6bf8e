// What there is: one row per kind of thing, each read from its registry (code) or scenarios folder
// (data), as a table that the list command prints.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "reports/table.hpp"

namespace tw {

struct Listing {
  std::vector<Column> columns;  // the first is the name
  std::vector<std::vector<std::string>> rows;
};

struct ListKind {
  std::string_view name, help;
  Listing (*list)();
};
std::span<const ListKind> list_kinds();
const ListKind& list_kind(const std::string& name);  // InputError lists the kinds

}  // namespace tw
