// Time of one layer in the middle of many: ops are listed in order over the streams, the host issues
// them one by one, and the period of a three-layer window (the end of layer 3 minus the end of layer
// 2) is the answer, at least the work of each stream. The one place where overlap is decided for the closed
// form.
#pragma once

#include <span>

#include "costmodel/cost.hpp"
#include "costmodel/price.hpp"

namespace tw {

// Parameter gathers and gradient reductions of a layer, beside its ops.
struct StateOps {
  const PricedOp* gather = nullptr;  // for the next layer, which waits for it; one layer ahead
  const PricedOp* reduce = nullptr;  // after the layer's last op; nobody waits inside the step
};

struct LayerTime {
  double seconds = 0;
  double busy = 0;  // of it, seconds in which the compute stream works
  TermSeconds terms;
};

// compute_slowdown: of compute while a collective runs beside it (>= 1), where no network op knows its own.
LayerTime resolve(const PricedList& list, const StateOps& state, double compute_slowdown);

}  // namespace tw
