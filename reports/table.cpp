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

std::string Table::text(int width) const {
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    widths.push_back(columns_of(columns_[c].title));
    for (const auto& row : rows_) widths[c] = std::max(widths[c], columns_of(row[c]));
  }
  std::vector<bool> shown(columns_.size(), true);
  const auto total = [&] {
    std::size_t sum = 0;
    for (std::size_t c = 0; c < widths.size(); ++c) sum += shown[c] ? widths[c] + kGap : 0;
    return sum - kGap;
  };
  while (width > 0 && total() > static_cast<std::size_t>(width)) {
    std::size_t least = columns_.size();
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      if (!shown[c] || columns_[c].drop == 0) continue;
      if (least == columns_.size() || columns_[c].drop >= columns_[least].drop) least = c;
    }
    if (least == columns_.size()) break;
    shown[least] = false;
  }
  std::string out;
  const auto line = [&](const auto& cell) {
    std::string text;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      if (shown[c]) text += padded(cell(c), widths[c], columns_[c].align) + std::string(kGap, ' ');
    }
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
