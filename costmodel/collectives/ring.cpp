// Ring: every rank passes 1/ranks of the buffer to its neighbour, ranks-1 times (twice that for
// all-reduce). Each link carries bus_factor * bytes; a node's ring enters and leaves it once per
// channel and channels use all its NICs, so the network offers ranks_per_node * inter.
#include <algorithm>

#include "costmodel/collectives/algorithm.hpp"

namespace tw::collectives {
namespace {

bool applies(const CollectiveCall& call, const LinkCurves&) {
  const bool reduces = call.kind == Collective::all_reduce || call.kind == Collective::reduce_scatter;
  return call.links.ranks > 1 && (reduces || call.kind == Collective::all_gather);
}

int steps(const CollectiveCall& call) {
  return (call.kind == Collective::all_reduce ? 2 : 1) * (call.links.ranks - 1);
}

const LinkCurve& curve(const CollectiveCall& call, const LinkCurves& curves) {
  return call.links.nodes > 1 ? curves.ring_inter : curves.ring_intra;
}

Seconds wire(const CollectiveCall& call, const LinkCurves& curves) {
  const GroupLinks& links = call.links;
  const double carried = bus_factor(call.kind, links.ranks) * call.bytes;
  double seconds = 0;
  if (links.ranks_per_node > 1) seconds = carried / (curves.ring_intra.efficiency * links.intra.value);
  if (links.nodes > 1) {
    const double network = curves.ring_inter.efficiency * links.inter.value * links.ranks_per_node;
    seconds = std::max(seconds, carried / network);
  }
  return Seconds(seconds);
}

Seconds latency(const CollectiveCall& call, const LinkCurves& curves) {
  const GroupLinks& links = call.links;
  const double rounds = call.kind == Collective::all_reduce ? 2 : 1;
  const double inner = rounds * (links.ranks - links.nodes), outer = rounds * (links.nodes - 1);
  return curve(call, curves).base + inner * curves.ring_intra.hop +
         outer * (curves.ring_inter.hop + links.inter_latency);
}

// derived: all-gather and reduce-scatter are called out of place, so a rank's own part (bytes/ranks)
// is read and written once: why two ranks read lower bus bandwidth than eight.
Seconds own_part(const CollectiveCall& call) {
  if (call.kind == Collective::all_reduce) return Seconds(0);
  return Seconds(2 * call.bytes / call.links.ranks / call.copy_rate.value);
}

Seconds time(const CollectiveCall& call, const LinkCurves& curves) {
  return latency(call, curves) + ramped(curve(call, curves), wire(call, curves)) + own_part(call);
}

}  // namespace

extern constinit const Algorithm ring;
constinit const Algorithm ring = {
    "ring", 10,   "all-reduce, all-gather and reduce-scatter around a ring of all ranks", applies, time,
    steps,  curve};

}  // namespace tw::collectives
