// What exchanges ask of the links of the topology graph. Ranks of a group send as its algorithm has it: rings
// for gathers, reductions and sums (two rounds), where a node's members cut what leaves the node among their
// NICs; every pair for an all-to-all; the next rank for a ring of blocks. derived: bytes on a link over what
// it could carry in the time that the exchange takes alone is the part of the link that it asks for. The
// price of an exchange holds its siblings already: alone, all groups of a kind together fit their links.
#pragma once

#include <map>
#include <string>

#include "costmodel/sim/run.hpp"
#include "topology/cluster.hpp"

namespace tw {

// A link of a rank that is played, out of the node or within it; what shares it with others is of others too.
struct SimLink {
  std::string name;         // "NVLink of GPU 3", "NIC 1 of node 4", "uplink of leaf 2"
  double rate = 0;          // bytes per second, one way
  std::vector<Rank> ranks;  // that send through it
};

class SimLinks {
 public:
  SimLinks(const Cluster& cluster, const Program& program, std::span<const SimGroupKind> kinds);

  // Who has the same links, for folding.
  const Neighbours& neighbours() const { return neighbours_; }
  // Links of those who are played; to be asked for their shares after this.
  void play(const Players& players);
  const std::vector<SimLink>& links() const { return links_; }
  const LinkShares& shares(const SimOp& op, std::int32_t player, std::int32_t kind);

 private:
  struct Sent {
    double inside = 0, outside = 0;  // bytes of a rank, within its node and out of it
  };
  struct Place {
    std::int32_t node, nic, leaf;
  };
  Sent sent_by(Rank rank, const SimOp& op, std::int32_t kind) const;
  Sent sent_in_group(std::span<const Rank> group, Rank rank, const SimOp& op) const;
  void add_links(Rank rank);
  LinkShares found(const SimOp& op, std::int32_t player, std::int32_t kind) const;

  const Cluster& cluster_;
  const Program& program_;
  std::span<const SimGroupKind> kinds_;
  const Players* players_ = nullptr;
  std::vector<Place> places_;  // by rank
  Neighbours neighbours_;
  std::vector<SimLink> links_;
  std::vector<double> port_, nic_, uplink_;  // rates
  std::map<std::string, std::size_t> known_links_;
  std::map<std::tuple<std::int32_t, std::int32_t, std::int32_t, std::int64_t, SimTime, std::int32_t>,
           LinkShares>
      known_;
};

}  // namespace tw
