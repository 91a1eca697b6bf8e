// What a run did and when: the end of each step of the Program, for a comparison with the prediction, and
// the most bytes of values alive at once.
#pragma once

#include <algorithm>
#include <chrono>
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

  void begin() {
    marks_.clear();
    start_ = std::chrono::steady_clock::now();
  }
  void mark(const Step& step) {
    if (keeps_) marks_.push_back({&step, seconds()});
  }
  void live(std::int64_t bytes) {
    live_ += bytes;
    peak_ = std::max(peak_, live_);
  }

  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  const std::vector<Mark>& marks() const { return marks_; }
  std::int64_t peak_bytes() const { return peak_; }
  std::int64_t live_bytes() const { return live_; }

 private:
  bool keeps_;
  std::chrono::steady_clock::time_point start_;
  std::vector<Mark> marks_;
  std::int64_t live_ = 0, peak_ = 0;
};

}  // namespace tw::train
