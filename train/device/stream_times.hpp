// Where the time of a step goes on the streams of a GPU: a timed event where an operation ends on the compute
// stream, around every wait for a side lane, which counts for the operation that is waited for, and around
// every piece of work on a side lane.
#pragma once

#include <deque>
#include <utility>
#include <vector>

#include "kernels/backend/gpu/device.hpp"
#include "train/recorder.hpp"
#include "train/timeline.hpp"

namespace tw::train {

class StreamTimes {
 public:
  explicit StreamTimes(gpu::Stream stream) : stream_(stream) {}

  void begin() {
    used_ = 0;
    pieces_.clear();
    last_ = now(stream_);
    touched_ = false;
  }
  // Something is put on the compute stream.
  void touch() { touched_ = true; }
  // What was put on the compute stream since the last mark was for this step, or a wait for it; an event
  // takes 3 us of the stream, so that there is none where there was nothing.
  void mark(const Step* step, bool waits = false) {
    if (!std::exchange(touched_, false) && !waits) return;
    const std::size_t end = now(stream_);
    pieces_.push_back({kCompute, waits, step, last_, end});
    last_ = end;
  }
  // On a side lane.
  std::size_t open(gpu::Stream stream) { return now(stream); }
  void close(std::size_t opened, std::int32_t lane, const Step* step, gpu::Stream stream) {
    pieces_.push_back({lane, false, step, opened, now(stream)});
  }

  // When all streams are done: in seconds since the step began.
  Timeline timeline() const {
    Timeline out;
    for (const Piece& each : pieces_)
      out.push_back({each.lane, each.waits, each.step, at(each.begin), at(each.end)});
    return out;
  }
  std::vector<Recorder::Mark> marks() const {
    std::vector<Recorder::Mark> out;
    for (const Piece& each : pieces_) {
      if (each.lane == kCompute) out.push_back({each.step, at(each.end)});
    }
    return out;
  }

 private:
  struct Piece {
    std::int32_t lane;
    bool waits;
    const Step* step;
    std::size_t begin, end;  // events
  };
  std::size_t now(gpu::Stream stream) {
    if (used_ == events_.size()) events_.emplace_back();
    events_[used_].record(stream);
    return used_++;
  }
  double at(std::size_t event) const { return events_[event].seconds_since(events_.front()); }

  gpu::Stream stream_;
  std::deque<gpu::Event> events_;
  std::size_t used_ = 0, last_ = 0;
  bool touched_ = false;
  std::vector<Piece> pieces_;
};

}  // namespace tw::train
