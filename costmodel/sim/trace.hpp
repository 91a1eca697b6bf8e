// The timeline of a simulated step in the trace-event format that Perfetto opens: a process per player, which
// says whom it stands for, a track per lane; counters for memory and for the links that players send through.
#pragma once

#include <string>

#include "costmodel/sim/simulate.hpp"

namespace tw {

std::string trace_text(const SimulatedStep& step, const StepContext& context, const Chain& chain);

}  // namespace tw
