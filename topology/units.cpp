#include "topology/units.hpp"

#include <charconv>
#include <cmath>
#include <limits>
#include <span>

namespace tw {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};

constexpr double kKi = 1024.0, kMi = kKi * 1024, kGi = kMi * 1024, kTi = kGi * 1024;

// Largest unit first: printing takes the first one that gives a value of at least 1.
constexpr Unit kByteUnits[] = {{"TiB", kTi}, {"TB", 1e12}, {"GiB", kGi}, {"GB", 1e9}, {"MiB", kMi},
                               {"MB", 1e6},  {"KiB", kKi}, {"kB", 1e3},  {"B", 1}};
constexpr Unit kSecondUnits[] = {{"d", 86400}, {"h", 3600},  {"min", 60}, {"s", 1},
                                 {"ms", 1e-3}, {"us", 1e-6}, {"ns", 1e-9}};
constexpr Unit kByteRateUnits[] = {{"TB/s", 1e12},     {"GB/s", 1e9},     {"MB/s", 1e6},    {"kB/s", 1e3},
                                   {"B/s", 1},         {"TiB/s", kTi},    {"GiB/s", kGi},   {"MiB/s", kMi},
                                   {"Tb/s", 1e12 / 8}, {"Gb/s", 1e9 / 8}, {"Mb/s", 1e6 / 8}};
constexpr Unit kFlopRateUnits[] = {
    {"PFLOP/s", 1e15}, {"TFLOP/s", 1e12}, {"GFLOP/s", 1e9}, {"MFLOP/s", 1e6}, {"FLOP/s", 1}};
constexpr Unit kFlopUnits[] = {{"PFLOP", 1e15}, {"TFLOP", 1e12}, {"GFLOP", 1e9}, {"MFLOP", 1e6}, {"FLOP", 1}};
constexpr Unit kDollarUnits[] = {{"USD", 1}, {"kUSD", 1e3}, {"M USD", 1e6}, {"MUSD", 1e6}};
constexpr Unit kDollarRateUnits[] = {{"USD/h", 1.0 / 3600}, {"USD/s", 1}};
constexpr Unit kWattUnits[] = {{"kW", 1e3}, {"W", 1}};

template <class Q>
struct Table;
#define TW_UNITS(Q, rows, sample)                       \
  template <>                                           \
  struct Table<Q> {                                     \
    static constexpr std::span<const Unit> units{rows}; \
    static constexpr std::string_view example = sample; \
  }
TW_UNITS(Bytes, kByteUnits, "\"80 GiB\"");
TW_UNITS(Seconds, kSecondUnits, "\"2.5 us\"");
TW_UNITS(BytesPerSec, kByteRateUnits, "\"450 GB/s\" or \"400 Gb/s\"");
TW_UNITS(FlopsPerSec, kFlopRateUnits, "\"989 TFLOP/s\"");
TW_UNITS(Flops, kFlopUnits, "\"3 GFLOP\"");
TW_UNITS(Dollars, kDollarUnits, "\"5000000 USD\"");
TW_UNITS(DollarsPerSec, kDollarRateUnits, "\"2.5 USD/h\"");
TW_UNITS(Watts, kWattUnits, "\"700 W\"");
#undef TW_UNITS

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// Splits "450 GB/s" into number and unit; no number gives nullopt.
std::optional<std::pair<double, std::string_view>> split(std::string_view text) {
  text = trimmed(text);
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || !std::isfinite(number)) return std::nullopt;
  return std::pair{number, trimmed(text.substr(static_cast<std::size_t>(end - text.data())))};
}

std::string number_text(double value) {
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  return {buffer, end};
}

template <class Q>
std::string legal_units() {
  std::string names;
  for (const Unit& unit : Table<Q>::units) names += (names.empty() ? "" : ", ") + std::string(unit.name);
  return names;
}

// Strict: a number, then one of the legal units. Negative quantities do not occur here.
template <class Q>
Parsed<double> scaled(std::string_view text) {
  const auto parts = split(text);
  const std::string example(Table<Q>::example);
  if (!parts) return {std::nullopt, "not a number with a unit; write it like " + example};
  if (parts->second.empty()) return {std::nullopt, "a bare number; give it a unit like " + example};
  if (parts->first < 0 || std::signbit(parts->first))
    return {std::nullopt, "negative; it must be at least zero"};
  for (const Unit& unit : Table<Q>::units) {
    if (unit.name != parts->second) continue;
    const double value = parts->first * unit.factor;
    if (!std::isfinite(value)) return {std::nullopt, "too large"};
    return {value, {}};
  }
  return {std::nullopt, "wrong unit; legal units: " + legal_units<Q>()};
}

// The first unit whose number of units reads back to exactly the same value.
template <class Q>
std::string print_scaled(double value) {
  for (const Unit& unit : Table<Q>::units) {
    const double number = value / unit.factor;
    if (number >= 1 && number * unit.factor == value) {
      return number_text(number) + " " + std::string(unit.name);
    }
  }
  for (const Unit& unit : Table<Q>::units) {
    if (unit.factor == 1) return number_text(value) + " " + std::string(unit.name);
  }
  const Unit& last = Table<Q>::units.back();
  return number_text(value / last.factor) + " " + std::string(last.name);
}

// Whole counts stay exact where a double would round: "9007199254740993 B".
std::optional<Bytes> whole_bytes(std::string_view text) {
  text = trimmed(text);
  std::int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || count < 0) return std::nullopt;
  const std::string_view name = trimmed(text.substr(static_cast<std::size_t>(end - text.data())));
  for (const Unit& unit : kByteUnits) {
    const auto factor = static_cast<std::int64_t>(unit.factor);
    if (unit.name == name && count <= std::numeric_limits<std::int64_t>::max() / factor)
      return Bytes(count * factor);
  }
  return std::nullopt;
}

}  // namespace

template <class Q>
Parsed<Q> parse_unit(std::string_view text) {
  const Parsed<double> number = scaled<Q>(text);
  if (!number.value) return {std::nullopt, number.error};
  return {Q(*number.value), {}};
}

template <>
Parsed<Bytes> parse_unit<Bytes>(std::string_view text) {
  const Parsed<double> number = scaled<Bytes>(text);
  if (!number.value) return {std::nullopt, number.error};
  if (const auto whole = whole_bytes(text)) return {whole, {}};
  constexpr double kLimit = 9.2e18;
  if (*number.value > kLimit) return {std::nullopt, "too large; at most 8 EiB"};
  if (*number.value != std::floor(*number.value)) return {std::nullopt, "not a whole number of bytes"};
  return {Bytes(static_cast<std::int64_t>(*number.value)), {}};
}

template <class Q>
std::string to_string(Q quantity) {
  return print_scaled<Q>(quantity.value);
}

template <>
std::string to_string<Bytes>(Bytes bytes) {
  for (const Unit& unit : kByteUnits) {
    const auto factor = static_cast<std::int64_t>(unit.factor);
    if (bytes.count != 0 && bytes.count % factor == 0) {
      return std::to_string(bytes.count / factor) + " " + std::string(unit.name);
    }
  }
  return std::to_string(bytes.count) + " B";
}

#define TW_INSTANTIATE(Q)                             \
  template Parsed<Q> parse_unit<Q>(std::string_view); \
  template std::string to_string<Q>(Q)
TW_INSTANTIATE(Seconds);
TW_INSTANTIATE(BytesPerSec);
TW_INSTANTIATE(FlopsPerSec);
TW_INSTANTIATE(Flops);
TW_INSTANTIATE(Dollars);
TW_INSTANTIATE(DollarsPerSec);
TW_INSTANTIATE(Watts);
#undef TW_INSTANTIATE

Parsed<std::int64_t> parse_count(std::string_view text, std::string_view unit) {
  constexpr Unit kPrefixes[] = {{"", 1}, {"k", 1e3}, {"M", 1e6}, {"B", 1e9}, {"T", 1e12}};
  const auto parts = split(text);
  const std::string legal = "write it like \"512\" or \"15T " + std::string(unit) + "\"";
  if (!parts) return {std::nullopt, "not a count; " + legal};
  std::string_view rest = parts->second;
  if (rest.ends_with(unit)) rest = trimmed(rest.substr(0, rest.size() - unit.size()));
  for (const Unit& prefix : kPrefixes) {
    if (prefix.name != rest) continue;
    const double value = parts->first * prefix.factor;
    if (value < 1 || value > 9e18 || value != std::floor(value)) break;
    return {static_cast<std::int64_t>(value), {}};
  }
  return {std::nullopt, "not a whole positive count; " + legal};
}

double in_gib(Bytes bytes) {
  return bytes.to_double() / kGi;
}
double in_ms(Seconds seconds) {
  return seconds.value * 1e3;
}
double in_us(Seconds seconds) {
  return seconds.value * 1e6;
}
double in_minutes(Seconds seconds) {
  return seconds.value / 60;
}
double in_hours(Seconds seconds) {
  return seconds.value / 3600;
}
double in_days(Seconds seconds) {
  return seconds.value / 86400;
}
double in_mwh(Joules energy) {
  return energy.value / 3600e6;
}
double in_usd_per_hour(DollarsPerSec price) {
  return price.value * 3600;
}
double in_millions(double count) {
  return count / 1e6;
}
double in_tflops(FlopsPerSec rate) {
  return rate.value / 1e12;
}
double in_gbps(BytesPerSec rate) {
  return rate.value / 1e9;
}
Bytes gib(double count) {
  return Bytes(std::llround(count * kGi));
}
Seconds microseconds(double count) {
  return Seconds(count * 1e-6);
}
FlopsPerSec teraflops(double count) {
  return FlopsPerSec(count * 1e12);
}

}  // namespace tw
