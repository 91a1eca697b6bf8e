// A PyTorch profiler trace (Kineto, the trace-event format of chrome://tracing) as seconds of a step by our
// terms. Names of kernels are data (scenarios/kernels/torch.json); which group an exchange belongs to comes
// from its process group's name where the trace has it, else from the kind of collective and the layout.
#pragma once

#include <map>

#include "costmodel/layout/layout.hpp"
#include "costmodel/program/op.hpp"

namespace tw::preflight {

struct TraceTimes {
  int steps = 0;
  double step_seconds = 0;                           // of one step; the whole trace where no step is marked
  std::map<Term, double> seconds;                    // device time of a step
  double busy = 0, assigned = 0;                     // device time of a step; the part that has a term
  double idle = 0;                                   // of a step, when nothing runs on the device
  std::vector<std::pair<std::string, double>> rest;  // without a term: name and seconds, longest first
};
// InputError where the file is no trace, or has no device work.
TraceTimes read_trace(const std::string& path, const Layout& layout, std::int32_t vocabulary);

}  // namespace tw::preflight
