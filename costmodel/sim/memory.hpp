// Memory over time of a player, by the bytes of the closed form: states all step long; what a unit's forward
// keeps from its first operation until its backward has ended (where that is split, weight halves keep their
// own); what a backward has for a moment.
#pragma once

#include <string>
#include <vector>

#include "costmodel/sim/simulate.hpp"

namespace tw {

struct MemoryAt {
  SimTime at = 0;
  std::int64_t bytes = 0;
};
struct MemoryOwner {
  std::string name;
  std::int64_t bytes = 0;
};
struct MemoryOverTime {
  std::vector<MemoryAt> points;     // where it changes
  MemoryAt peak;                    // first reached
  std::vector<MemoryOwner> owners;  // at the peak, the largest first
};

// The step must have been simulated with a timeline.
MemoryOverTime memory_over_time(const SimulatedStep& step, const StepContext& context, const Chain& chain,
                                std::int32_t player);

}  // namespace tw
