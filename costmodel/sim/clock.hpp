// The simulator's clock: whole picoseconds, so that equal times are equal and sums do not depend on their
// order. 2^63 ps are 106 days.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <ratio>

namespace tw {

using SimTime = std::int64_t;                                          // picoseconds
inline constexpr double kTicks = static_cast<double>(std::pico::den);  // per second
inline constexpr SimTime kNever = std::numeric_limits<SimTime>::max();

inline SimTime ticks(double seconds) {
  return std::llround(seconds * kTicks);
}
inline double seconds(SimTime time) {
  return static_cast<double>(time) / kTicks;
}

// Work is done at a rate in parts of a million of full speed. Times are rounded up, so that no work
// ends early.
inline constexpr std::int32_t kFull = std::mega::num;
inline SimTime time_for(SimTime work, std::int64_t rate) {
  if (rate == kFull) return work;
  return work / rate * kFull + (work % rate * kFull + rate - 1) / rate;
}
inline SimTime work_in(SimTime time, std::int64_t rate) {
  if (rate == kFull) return time;
  return time / kFull * rate + time % kFull * rate / kFull;
}

}  // namespace tw
