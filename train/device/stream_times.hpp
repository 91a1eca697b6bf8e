// Where the time of a step goes on the compute stream: a timed event where an operation ends, and around
// every wait for a side lane, which counts for the operation that is waited for.
#pragma once

#include <vector>

#include "kernels/backend/gpu/device.hpp"
#include "train/recorder.hpp"

namespace tw::train {

class StreamTimes {
 public:
  explicit StreamTimes(gpu::Stream stream) : stream_(stream) {}

  void begin() { count_ = 0, steps_.clear(), mark(nullptr); }
  // What was put on the stream since the last mark was for this step.
  void mark(const Step* step) {
    if (count_ == events_.size()) events_.emplace_back();
    events_[count_++].record(stream_);
    steps_.push_back(step);
  }
  // When the stream is done: the end of each piece, since the step began.
  std::vector<Recorder::Mark> marks() const {
    std::vector<Recorder::Mark> out;
    for (std::size_t i = 1; i < count_; ++i) out.push_back({steps_[i], events_[i].seconds_since(events_[0])});
    return out;
  }

 private:
  gpu::Stream stream_;
  std::vector<gpu::Event> events_;
  std::vector<const Step*> steps_;
  std::size_t count_ = 0;
};

}  // namespace tw::train
