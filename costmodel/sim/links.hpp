// What exchanges ask of the links of the topology graph (how bytes travel: traffic.hpp). derived: bytes on a
// link over what it could carry in the time that the exchange takes alone is the part of the link that it
// asks for. The price of an exchange holds its siblings already: alone, all groups of a kind together fit
// their links.
#pragma once

#include <map>
#include <string>
#include <tuple>

#include "costmodel/sim/run.hpp"
#include "topology/cluster.hpp"
#include "topology/fabric_graph.hpp"

namespace tw {

// A link of a rank that is played, out of the node or within it; what shares it with others is of others too.
struct SimLink {
  enum class Tier : std::uint8_t { port, nic, uplink };
  std::string name;  // "port of GPU 3", "NIC 1 of node 4", "uplinks of leaf 2"
  Tier tier = Tier::port;
  double rate = 0;          // bytes per second, one way
  std::vector<Rank> ranks;  // that send through it
};

// Rank r is GPU r mod g of node r div g.
std::vector<Place> places_of(const Cluster& cluster, std::int32_t ranks);

// What each rank has to send by: rates of its port, its NIC and its leaf's uplinks, and how many NICs its
// node has left. Ranks that differ in it are different from the start.
std::vector<std::vector<double>> link_rates(const Cluster& cluster, std::int32_t ranks);

class SimLinks {
 public:
  // matrices: of all-to-alls, by Cargo::matrix. A NIC that the cluster has lost is not sent by: its ranks use
  // the others of their node.
  SimLinks(const Cluster& cluster, const Program& program, std::span<const SimGroupKind> kinds,
           std::span<const SendMatrix> matrices = {});

  // Who has the same links, for folding.
  const Neighbours& neighbours() const { return neighbours_; }
  // Links of those who are played; to be asked for their shares after this.
  void play(const Players& players);
  const std::vector<SimLink>& links() const { return links_; }
  // Bytes that a rank sends in an exchange over its group of a kind (-1: in a message to `stage`).
  RankTraffic sent_by(Rank rank, const Cargo& cargo, std::int32_t kind, std::int32_t stage);
  const LinkShares& shares(const SimOp& op, std::int32_t player, std::int32_t kind, SimTime work);

 private:
  void add_links(Rank rank);
  // NICs that a rank sends by: its own, or all that its node has left.
  std::vector<std::int32_t> nics_of(std::int32_t rank) const;
  LinkShares found(const SimOp& op, std::int32_t player, std::int32_t kind, SimTime work);
  double bytes_on(const SimLink& link, const SimOp& op, std::span<const std::int32_t> members);

  const Cluster& cluster_;
  const Program& program_;
  std::span<const SimGroupKind> kinds_;
  const Players* players_ = nullptr;
  std::vector<Place> places_;                    // by rank
  std::vector<std::vector<std::int32_t>> nics_;  // by rank: those that it sends by
  Neighbours neighbours_;
  std::vector<SimLink> links_;
  EdgeRates rates_;
  std::span<const SendMatrix> matrices_;
  std::map<std::string, std::size_t> known_links_;
  std::map<std::tuple<std::int32_t, std::int32_t, Cargo>, std::vector<RankTraffic>> known_traffic_;
  using Key = std::tuple<std::int32_t, std::int32_t, std::int32_t, SimTime, const std::vector<Cargo>*>;
  std::map<Key, LinkShares> known_;
};

}  // namespace tw
