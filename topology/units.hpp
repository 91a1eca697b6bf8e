// Quantities with dimensions. Bytes are exact int64; everything else is a double whose exponents of
// byte, flop, second, dollar and joule the compiler checks. Files carry strings with units
// ("80 GiB", "450 GB/s", "2.5 us"); units.cpp is the one parser and printer and the only place
// where a factor such as 1e9 stands.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tw {

// A double with the exponents of byte, flop, second, dollar and joule.
template <int B, int F, int S, int D = 0, int J = 0>
struct Quantity {
  double value = 0;
  constexpr Quantity() = default;
  constexpr explicit Quantity(double v) : value(v) {}
  friend constexpr auto operator<=>(Quantity, Quantity) = default;
  friend constexpr Quantity operator+(Quantity a, Quantity b) { return Quantity(a.value + b.value); }
  friend constexpr Quantity operator-(Quantity a, Quantity b) { return Quantity(a.value - b.value); }
  friend constexpr Quantity operator*(Quantity a, double k) { return Quantity(a.value * k); }
  friend constexpr Quantity operator*(double k, Quantity a) { return Quantity(a.value * k); }
  friend constexpr Quantity operator/(Quantity a, double k) { return Quantity(a.value / k); }
  constexpr Quantity& operator+=(Quantity b) {
    value += b.value;
    return *this;
  }
  constexpr Quantity& operator-=(Quantity b) {
    value -= b.value;
    return *this;
  }
};

template <int B, int F, int S, int D, int J>
constexpr double operator/(Quantity<B, F, S, D, J> a, Quantity<B, F, S, D, J> b) {
  return a.value / b.value;
}
template <int B, int F, int S, int D, int J, int B2, int F2, int S2, int D2, int J2>
constexpr auto operator/(Quantity<B, F, S, D, J> a, Quantity<B2, F2, S2, D2, J2> b) {
  return Quantity<B - B2, F - F2, S - S2, D - D2, J - J2>(a.value / b.value);
}
template <int B, int F, int S, int D, int J, int B2, int F2, int S2, int D2, int J2>
constexpr auto operator*(Quantity<B, F, S, D, J> a, Quantity<B2, F2, S2, D2, J2> b) {
  return Quantity<B + B2, F + F2, S + S2, D + D2, J + J2>(a.value * b.value);
}

using Flops = Quantity<0, 1, 0>;
using Seconds = Quantity<0, 0, 1>;
using BytesPerSec = Quantity<1, 0, -1>;
using FlopsPerSec = Quantity<0, 1, -1>;
using Dollars = Quantity<0, 0, 0, 1>;
using DollarsPerSec = Quantity<0, 0, -1, 1>;
using Watts = Quantity<0, 0, -1, 0, 1>;
using Joules = Quantity<0, 0, 0, 0, 1>;

// An exact number of bytes. Dividing gives a double, or a time by a rate.
struct Bytes {
  std::int64_t count = 0;
  constexpr Bytes() = default;
  constexpr explicit Bytes(std::int64_t c) : count(c) {}
  constexpr double to_double() const { return static_cast<double>(count); }
  friend constexpr auto operator<=>(Bytes, Bytes) = default;
  friend constexpr Bytes operator+(Bytes a, Bytes b) { return Bytes(a.count + b.count); }
  friend constexpr Bytes operator-(Bytes a, Bytes b) { return Bytes(a.count - b.count); }
  friend constexpr Bytes operator*(Bytes a, std::int64_t k) { return Bytes(a.count * k); }
  friend constexpr Bytes operator*(std::int64_t k, Bytes a) { return Bytes(a.count * k); }
  friend constexpr double operator/(Bytes a, Bytes b) { return a.to_double() / b.to_double(); }
  constexpr Bytes& operator+=(Bytes b) {
    count += b.count;
    return *this;
  }
};
constexpr Seconds operator/(Bytes a, BytesPerSec r) {
  return Seconds(a.to_double() / r.value);
}
constexpr BytesPerSec operator/(Bytes a, Seconds s) {
  return BytesPerSec(a.to_double() / s.value);
}

// Parsing fails with a reason ("bare number; give a unit: ..."), printing parses back to the value.
template <class Q>
struct Parsed {
  std::optional<Q> value;
  std::string error;  // set when value is not
};
template <class Q>
Parsed<Q> parse_unit(std::string_view text);
template <class Q>
std::string to_string(Q quantity);

// Counts with a decimal prefix: "15T tokens", "512". The unit word is optional.
Parsed<std::int64_t> parse_count(std::string_view text, std::string_view unit);

// Print edges: plain numbers whose key or label ends in the unit.
double in_gib(Bytes bytes);
double in_ms(Seconds seconds);
double in_us(Seconds seconds);
double in_minutes(Seconds seconds);
double in_hours(Seconds seconds);
double in_days(Seconds seconds);
double in_mwh(Joules energy);  // megawatt-hours
double in_usd_per_hour(DollarsPerSec price);
double in_millions(double count);
double in_tflops(FlopsPerSec rate);
double in_gbps(BytesPerSec rate);  // GB/s, 10^9
Bytes gib(double count);
Seconds microseconds(double count);
FlopsPerSec teraflops(double count);

}  // namespace tw
