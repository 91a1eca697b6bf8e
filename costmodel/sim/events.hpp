// What happens next: a heap in the order (time, rank, lane), which is all there is to order by, so that a run
// is the same every time. An event that something overtook stays in the heap and is known by its version.
#pragma once

#include <cstdint>
#include <queue>
#include <tuple>
#include <vector>

#include "costmodel/sim/clock.hpp"

namespace tw {

struct SimEvent {
  SimTime at = 0;
  std::int32_t rank = 0;  // the first of those concerned
  std::int8_t lane = 0;
  bool wakes = false;          // else something ends
  std::uint32_t version = 0;   // of what ends
  std::int32_t activity = -1;  // of a group; -1: the rank's own; a group's kind, where it has met
  std::int32_t group = -1;     // that has met elsewhere; `work` of its exchange
  SimTime work = 0;
  auto key() const { return std::tuple(at, rank, lane, wakes, activity, group); }
  friend bool operator>(const SimEvent& a, const SimEvent& b) { return a.key() > b.key(); }
};

class SimEvents {
 public:
  void push(const SimEvent& event) { heap_.push(event); }
  SimTime next() const { return heap_.empty() ? kNever : heap_.top().at; }
  SimEvent pop() {
    const SimEvent first = heap_.top();
    heap_.pop();
    return first;
  }

 private:
  std::priority_queue<SimEvent, std::vector<SimEvent>, std::greater<>> heap_;
};

}  // namespace tw
