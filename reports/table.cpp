#include "reports/table.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "topology/check.hpp"

namespace tw {
namespace {

// Code points, not bytes: one column each for all that we print.
std::size_t columns_of(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0u) != 0x80u; }));
}

std::string padded(std::string_view text, std::size_t width, Align align) {
  const std::string space(width - std::min(width, columns_of(text)), ' ');
  return align == Align::left ? std::string(text) + space : space + std::string(text);
}

std::string trimmed_line(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  return line + '\n';
}

constexpr std::size_t kGap = 2;

}  // namespace

void Table::row(std::vector<std::string> cells) {
  TW_CHECK(cells.size() == columns_.size());
  rows_.push_back(std::move(cells));
}

std::vector<std::size_t> Table::widths() const {
  std::vector<std::size_t> out;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    out.push_back(columns_of(columns_[c].title));
    for (const auto& row : rows_) out[c] = std::max(out[c], columns_of(row[c]));
  }
  return out;
}

std::vector<std::size_t> Table::shown(int width) const {
  const std::vector<std::size_t> all = widths();
  std::vector<std::size_t> out;
  std::size_t total = 0;
  for (std::size_t c = 0; c < columns_.size(); ++c) out.push_back(c), total += all[c] + kGap;
  while (width > 0 && total > static_cast<std::size_t>(width) + kGap) {
    // Of equals, the rightmost goes.
    const auto least = std::max_element(out.rbegin(), out.rend(), [&](std::size_t a, std::size_t b) {
      return columns_[a].drop < columns_[b].drop;
    });
    if (columns_[*least].drop == 0) break;
    total -= all[*least] + kGap;
    out.erase(std::next(least).base());
  }
  return out;
}

std::string Table::text(int width) const {
  const std::vector<std::size_t> all = widths(), columns = shown(width);
  std::string out;
  const auto line = [&](const auto& cell) {
    std::string text;
    for (const std::size_t c : columns)
      text += padded(cell(c), all[c], columns_[c].align) + std::string(kGap, ' ');
    out += trimmed_line(std::move(text));
  };
  line([&](std::size_t c) -> std::string_view { return columns_[c].title; });
  for (const auto& row : rows_) line([&](std::size_t c) -> std::string_view { return row[c]; });
  return out;
}

Terminal terminal_of(int stream) {
  if (::isatty(stream) == 0) return {};
  winsize size{};
  if (::ioctl(stream, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return {80, true};
  return {size.ws_col, true};
}

std::string bold(std::string_view text, const Terminal& terminal) {
  return terminal.colour ? "\x1b[1m" + std::string(text) + "\x1b[0m" : std::string(text);
}

std::string wrapped(std::string_view text, int width, int indent) {
  if (width <= 0) return std::string(text) + '\n';
  std::string out;
  std::size_t room = static_cast<std::size_t>(std::max(width, indent + 10));
  while (columns_of(text) > room) {
    // Layouts have no spaces: they may break after a comma.
    std::size_t cut = text.find_last_of(' ', room - 1);
    if (cut == std::string_view::npos || cut < room / 2) cut = text.find_last_of(" ,", room - 1);
    if (cut == std::string_view::npos || cut == 0) break;
    out += trimmed_line(std::string(text.substr(0, cut + 1))) +
           std::string(static_cast<std::size_t>(indent), ' ');
    text.remove_prefix(cut + 1);
    room = static_cast<std::size_t>(std::max(width, indent + 10) - indent);
  }
  return out + std::string(text) + '\n';
}

}  // namespace tw
