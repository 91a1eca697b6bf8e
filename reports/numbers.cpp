#include <fmt/format.h>

#include <cmath>

#include "reports/text.hpp"

namespace tw {

std::string seconds_text(double seconds) {
  const double ms = in_ms(Seconds(seconds));
  if (std::abs(seconds) >= 100) return fmt::format("{:.0f} s", seconds);
  if (std::abs(seconds) >= 1) return fmt::format("{:.2f} s", seconds);
  return std::abs(ms) >= 1 || ms == 0 ? fmt::format("{:.0f} ms", ms) : fmt::format("{:.2f} ms", ms);
}

std::string gib_text(std::int64_t bytes) {
  return fmt::format("{:.1f} GiB", in_gib(Bytes(bytes)));
}

std::string count_text(std::int64_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

}  // namespace tw
