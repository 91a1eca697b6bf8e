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

std::string days_text(Seconds time) {
  const double days = in_days(time);
  return days < 2 ? fmt::format("{:.1f} h", in_hours(time)) : fmt::format("{:.1f} days", days);
}

std::string dollars_text(Dollars dollars) {
  const double millions = in_millions(dollars.value);
  if (millions >= 1) return fmt::format("{:.2f} M USD", millions);
  constexpr double kMostWithCents = 10000;
  return dollars.value >= kMostWithCents ? count_text(std::llround(dollars.value)) + " USD"
                                         : fmt::format("{:.2f} USD", dollars.value);
}

std::string hours_text(double gpu_hours) {
  const double millions = in_millions(gpu_hours);
  return millions >= 0.1 ? fmt::format("{:.3f} M", millions) : count_text(std::llround(gpu_hours));
}

std::string tokens_text(std::int64_t tokens) {
  const double millions = in_millions(static_cast<double>(tokens)), trillions = in_millions(millions);
  if (trillions >= 0.1) return fmt::format("{:.4g}T", trillions);
  return millions >= 1 ? fmt::format("{:.5g}M", millions) : count_text(tokens);
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
