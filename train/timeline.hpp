// What each stream of a rank did in one step and when, and the file that shows it for all ranks.
#pragma once

#include <string>
#include <vector>

#include "kernels/backend/messages.hpp"
#include "train/recorder.hpp"
#include "train/view.hpp"

namespace tw::train {

inline constexpr std::int32_t kCompute = -1;  // a stream; side lanes count from 0

struct TimelinePiece {
  std::int32_t lane = kCompute;
  bool waits = false;  // compute stands still until a side lane has done the step
  const Step* step = nullptr;
  double begin = 0, end = 0;  // seconds since the rank began the step
};
using Timeline = std::vector<TimelinePiece>;

// Of a rank that does one step of its Program after the other.
Timeline one_stream(const std::vector<Recorder::Mark>& marks);

// All ranks together; the first writes the file. Ranks have clocks of their own, each from its begin.
void write_timeline(const std::string& path, const View& view, Messages& messages, const Timeline& own);

}  // namespace tw::train
