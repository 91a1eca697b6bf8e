// What is left of gradient reductions when the backward of a stage ends.
#pragma once

#include <algorithm>
#include <cstdint>

namespace tw {

// Gradient reductions of the last micro-batch, one after another, each after its layer's backward. By
// `lag` the queue ends after compute; a layer of backward b and reduction r makes it max(lag - b, 0) + r
// (derived: Lindley's recursion), n such layers max(lag + n(r-b), r + (n-1)max(r-b, 0)).
class ReductionQueue {
 public:
  // Layers whose backward runs before those added so far.
  void add_earlier(std::int32_t n, double backward, double reduce) {
    const double over = reduce - backward;
    floor_ = std::max(floor_, shift_ + reduce + (n - 1) * std::max(over, 0.0));
    shift_ += n * over;
  }
  double left() const { return std::max(shift_, floor_); }

 private:
  double shift_ = 0, floor_ = 0;  // what is left of a lag: max(lag + shift, floor)
};

}  // namespace tw
