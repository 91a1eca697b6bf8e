// What a run did and when: the end of each step of the Program, for a comparison with the prediction, and
// the most bytes alive at once: of values, from the operation that wrote them until nobody holds them, and
// of what the engine keeps of units. Bytes are those of the buffers that are there.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <utility>
#include <vector>

#include "costmodel/program/program.hpp"

namespace tw::train {

class Recorder {
 public:
  struct Mark {
    const Step* step = nullptr;
    double seconds = 0;  // since the step began
  };

  explicit Recorder(bool keeps_marks = false) : keeps_(keeps_marks) {}

  // Called before each operation with its place in the rank's list.
  void watch(std::function<void(std::size_t)> watcher) { watcher_ = std::move(watcher); }

  void begin() {
    marks_.clear(), next_ = 0;
    start_ = std::chrono::steady_clock::now();
  }
  void start() {
    if (watcher_) watcher_(next_);
    ++next_;
  }
  void mark(const Step& step, double at) {
    if (keeps_) marks_.push_back({&step, at});
  }
  void live(std::int64_t bytes) {
    live_ += bytes;
    look();
  }
  void states(std::int64_t bytes) {
    states_ = bytes;
    look();
  }

  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  const std::vector<Mark>& marks() const { return marks_; }
  std::int64_t peak_bytes() const { return peak_; }  // of values and states together
  std::int64_t live_bytes() const { return live_; }  // of values
  std::int64_t state_bytes() const { return states_; }

 private:
  void look() { peak_ = std::max(peak_, live_ + states_); }

  bool keeps_;
  std::function<void(std::size_t)> watcher_;
  std::size_t next_ = 0;
  std::chrono::steady_clock::time_point start_;
  std::vector<Mark> marks_;
  std::int64_t live_ = 0, states_ = 0, peak_ = 0;
};

}  // namespace tw::train
