// One message from one rank to another: pipeline activations, ring attention.
#include "costmodel/collectives/algorithm.hpp"

namespace tw::collectives {
namespace {

bool applies(const CollectiveCall& call, const LinkCurves&) {
  return call.kind == Collective::send && call.links.ranks > 1;
}

int steps(const CollectiveCall&) {
  return 1;
}

const LinkCurve& curve(const CollectiveCall& call, const LinkCurves& curves) {
  return call.links.nodes > 1 ? curves.send_inter : curves.send_intra;
}

Seconds time(const CollectiveCall& call, const LinkCurves& curves) {
  const LinkCurve& c = curve(call, curves);
  const bool network = call.links.nodes > 1;
  const BytesPerSec rate = network ? call.links.inter : call.links.intra;
  const Seconds latency = network ? call.links.inter_latency : Seconds(0);
  return c.base + c.hop + latency + ramped(c, Seconds(call.bytes / (c.efficiency * rate.value)));
}

}  // namespace

extern constinit const Algorithm direct;
constinit const Algorithm direct = {"direct", 50,   "one message between two ranks", applies, time,
                                    steps,    curve};

}  // namespace tw::collectives
