// All-to-all as direct messages: each rank sends 1/ranks of its buffer to every other, those in its
// node over NVLink and the others over its share of the network, at the same time.
#include <algorithm>

#include "costmodel/collectives/algorithm.hpp"

namespace tw {

TierBytes all_to_all_bytes(const GroupLinks& links, double bytes) {
  const double part = bytes / links.ranks;
  return {part * (links.ranks_per_node - 1), part * (links.ranks - links.ranks_per_node)};
}

Seconds pairwise_time(const GroupLinks& links, const TierBytes& sent, const LinkCurves& curves) {
  const LinkCurve& intra = curves.pairwise_intra;
  const LinkCurve& inter = curves.pairwise_inter;
  const int local = links.ranks_per_node - 1, remote = links.ranks - links.ranks_per_node;
  Seconds inside, outside;
  if (local > 0) {
    inside = intra.base + local * intra.hop +
             ramped(intra, Seconds(sent.intra / (intra.efficiency * links.intra.value)));
  }
  if (remote > 0) {
    outside = inter.base + links.inter_latency + remote * inter.hop +
              ramped(inter, Seconds(sent.inter / (inter.efficiency * links.inter.value)));
  }
  return std::max(inside, outside);
}

namespace collectives {
namespace {

bool applies(const CollectiveCall& call, const LinkCurves&) {
  return call.kind == Collective::all_to_all && call.links.ranks > 1;
}

int steps(const CollectiveCall&) {
  return 1;
}

const LinkCurve& curve(const CollectiveCall& call, const LinkCurves& curves) {
  return call.links.nodes > 1 ? curves.pairwise_inter : curves.pairwise_intra;
}

Seconds time(const CollectiveCall& call, const LinkCurves& curves) {
  return pairwise_time(call.links, all_to_all_bytes(call.links, call.bytes), curves);
}

}  // namespace

extern constinit const Algorithm pairwise;
constinit const Algorithm pairwise = {
    "pairwise", 40, "all-to-all as direct messages between every two ranks", applies, time, steps, curve};

}  // namespace collectives
}  // namespace tw
