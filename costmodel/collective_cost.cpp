#include "costmodel/collectives/algorithm.hpp"
#include "topology/check.hpp"

namespace tw {

double bus_factor(Collective kind, std::int32_t ranks) {
  const double others = static_cast<double>(ranks - 1) / ranks;
  if (kind == Collective::send) return 1;
  return kind == Collective::all_reduce ? 2 * others : others;
}

const Algorithm* fastest(const CollectiveCall& call, const LinkCurves& curves) {
  const Algorithm* best = nullptr;
  Seconds time;
  for (const Algorithm* each : all_collectives()) {
    if (!each->applies(call, curves)) continue;
    const Seconds here = each->time(call, curves);
    if (best == nullptr || here < time) {
      best = each;
      time = here;
    }
  }
  return best;
}

}  // namespace tw
