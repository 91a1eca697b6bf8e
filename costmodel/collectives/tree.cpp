// Double binary tree between nodes, NVLS or a chain inside them. derived: a node is interior in one
// tree and leaf in the other, half the bytes each; it receives up from two children (bytes/2 each)
// and down in both (bytes/2 each): 2*bytes; with two nodes there is one child in one tree: bytes.
#include <algorithm>
#include <bit>

#include "costmodel/collectives/algorithm.hpp"

namespace tw::collectives {
namespace {

bool applies(const CollectiveCall& call, const LinkCurves&) {
  return call.kind == Collective::all_reduce && call.links.nodes > 1;
}

int depth(std::int32_t nodes) {
  return static_cast<int>(std::bit_width(static_cast<unsigned>(nodes - 1)));
}

int steps(const CollectiveCall& call) {
  return 2 * depth(call.links.nodes);
}

const LinkCurve& curve(const CollectiveCall&, const LinkCurves& curves) {
  return curves.tree_inter;
}

double in_node_seconds(const CollectiveCall& call, const LinkCurves& curves) {
  const std::int32_t local = call.links.ranks_per_node;
  if (local == 1) return 0;
  const bool switched = curves.nvls && local > 2;
  const double carried = call.bytes * (switched ? 1 + 1.0 / local : 2);  // a chain carries up and down
  const LinkCurve& c = switched ? curves.nvls_intra : curves.ring_intra;
  return carried / (c.efficiency * call.links.intra.value);
}

Seconds time(const CollectiveCall& call, const LinkCurves& curves) {
  const GroupLinks& links = call.links;
  const LinkCurve& c = curves.tree_inter;
  const double carried = call.bytes * (links.nodes == 2 ? 1 : 2);
  const double network = carried / (c.efficiency * links.inter.value * links.ranks_per_node);
  const Seconds wire(std::max(network, in_node_seconds(call, curves)));
  return c.base + steps(call) * (c.hop + links.inter_latency) + ramped(c, wire);
}

}  // namespace

extern constinit const Algorithm tree;
constinit const Algorithm tree = {
    "tree", 30, "all-reduce over a double binary tree of nodes", applies, time, steps, curve};

}  // namespace tw::collectives
