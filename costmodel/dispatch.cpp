#include "costmodel/dispatch.hpp"

#include <algorithm>

#include "costmodel/price.hpp"

namespace tw {

TierBytes dispatch_bytes(const DispatchWork& work, const GroupLinks& links, Dispatch how) {
  const double bytes = work.bytes.to_double(), ranks = links.ranks;
  const double local = links.ranks_per_node / ranks;
  TierBytes out{bytes * std::max(0.0, local - 1 / ranks), bytes * (1 - local)};
  if (how == Dispatch::direct || links.nodes == 1) return out;
  const double nodes = links.nodes;
  const double per_token =
      how == Dispatch::dedup ? Pricer::distinct_nodes(nodes, work.copies, work.nodes_limit) : work.copies;
  out.inter = bytes / work.copies * per_token * (nodes - 1) / nodes;
  out.intra = bytes * (1 - 1.0 / links.ranks_per_node);
  return out;
}

Estimate dispatch_time(const Calibration& calibration, const GroupLinks& links, const TierBytes& sent,
                       Dispatch how) {
  if (how == Dispatch::direct || links.nodes == 1)
    return calibration.all_to_all(links, sent.intra, sent.inter);
  GroupLinks node = links, place = links;
  node.ranks = links.ranks_per_node, node.nodes = 1, node.inter = {};
  place.ranks = links.nodes, place.ranks_per_node = 1, place.intra = {};
  Estimate inside = calibration.all_to_all(node, sent.intra, 0);
  Estimate outside = calibration.all_to_all(place, 0, sent.inter);
  if (links.ranks_per_node == 1) return outside;
  if (how != Dispatch::two_level) return inside.time > outside.time ? inside : outside;
  outside.time = outside.time + inside.time;
  return outside;
}

}  // namespace tw
