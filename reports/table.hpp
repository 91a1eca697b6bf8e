// Tables for people: aligned columns that fit the terminal; columns that matter least go first when
// it is too narrow. Colour and width are asked of the terminal once, here.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tw {

enum class Align : unsigned char { left, right };

struct Column {
  std::string title;
  Align align = Align::right;
  int drop = 0;  // 0: always shown; else dropped when too narrow, the highest first
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void row(std::vector<std::string> cells);
  // At most `width` columns of text where that can be had by dropping; 0: no limit. Ends with \n.
  std::string text(int width) const;

 private:
  std::vector<std::size_t> widths() const;          // of every column
  std::vector<std::size_t> shown(int width) const;  // columns

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

struct Terminal {
  int width = 0;  // 0: no limit
  bool colour = false;
};
// Of a stream (1 standard output, 2 standard error): no limit and no colour where it is a file or pipe.
Terminal terminal_of(int stream);
std::string bold(std::string_view text, const Terminal& terminal);
// Lines of at most `width` (0: one line), the second and later ones indented.
std::string wrapped(std::string_view text, int width, int indent);

}  // namespace tw
