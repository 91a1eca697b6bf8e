// The cluster as a graph (Boost.Graph): GPUs, NVSwitch planes, NICs, leaves, spine. Shapes, routes
// and bandwidths of process groups come from it; a lost NIC, uplink or NVSwitch edge changes those
// of the groups that cross it and of no other.
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
  Seconds inter_latency;            // one network message
  friend bool operator==(const GroupLinks&, const GroupLinks&) = default;
};

class Fabric {
 public:
  explicit Fabric(const Cluster& cluster);
  ~Fabric();
  Fabric(Fabric&&) noexcept;

  // All groups of one dimension at once (they are disjoint): the links of the slowest of them.
  // Without faults, congruent groups are looked at once.
  GroupLinks links(std::span<const std::vector<Rank>> groups) const;
  // Between two ranks, with `active` ranks of the node sending out at once.
  GroupLinks path(Rank from, Rank to) const;

  std::size_t vertices() const;
  std::size_t edges() const;
  // Cut of the network: bytes/s one way between the first half and the second half of the nodes,
  // by max-flow on the graph (small clusters; used by tests and reports).
  BytesPerSec bisection() const;

 private:
  struct Graph;
  std::unique_ptr<Graph> graph_;
};

}  // namespace tw
