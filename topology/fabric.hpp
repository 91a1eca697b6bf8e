// The cluster as a graph (Boost.Graph): GPUs, NVSwitch planes, NICs, leaves, spine. Shapes, routes
// and bandwidths of process groups come from it; a lost NIC, uplink or NVSwitch edge changes those
// of the groups that cross it and of no other. Rank r is GPU r mod g of node r div g.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "topology/cluster.hpp"
#include "topology/ids.hpp"

namespace tw {

// What a collective's price depends on. Rates are per rank, one direction, with every sibling group
// (the other groups of the same dimension) active at once.
struct GroupLinks {
  std::int32_t ranks = 1;
  std::int32_t nodes = 1;
  std::int32_t ranks_per_node = 1;  // the largest number of members on one node
  std::int32_t tier = 0;            // 0 within a node, 1 under one set of leaves, 2 over the spine
  BytesPerSec intra;                // in-node rate of a rank; zero if one rank per node
  BytesPerSec inter;                // network rate of a rank; zero if one node
  Seconds inter_latency;            // one network message; zero if one node
  friend bool operator==(const GroupLinks&, const GroupLinks&) = default;
};

// Ranks base + i * stride, 0 <= i < size.
struct GroupAxis {
  std::int32_t size = 1;
  std::int32_t stride = 1;
  friend auto operator<=>(const GroupAxis&, const GroupAxis&) = default;
};

class Fabric {
 public:
  explicit Fabric(const Cluster& cluster);
  ~Fabric();
  Fabric(Fabric&&) noexcept;

  // All groups of one dimension at once (disjoint, each in rising order of ranks): the shape of the group
  // over the most nodes (then the highest tier, the most ranks on a node), the lowest rates of any. Groups
  // that are translates of one mixed-radix set and cover the cluster are looked at once.
  GroupLinks links(std::span<const std::vector<Rank>> groups) const;
  // The same for the group spanned by these axes and its translates, which partition the ranks:
  // strides rise, each a multiple of the size * stride before it, the last of which divides the
  // ranks. Tens of nanoseconds where node and pod boundaries cut the axes evenly; elsewhere
  // every group is looked at, once for the same axes. Safe from several threads.
  GroupLinks links(std::span<const GroupAxis> axes) const;
  // Between two ranks, while every rank of both nodes sends to a like partner: a pipeline's hop.
  GroupLinks path(Rank from, Rank to) const;

  std::int32_t ranks() const;
  std::size_t vertices() const;
  std::size_t edges() const;
  // Cut of the network: bytes/s one way between the first half and the second half of the nodes
  // (of one node: of its GPUs) by max-flow on the graph. Small clusters; for tests and reports.
  BytesPerSec bisection() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tw
