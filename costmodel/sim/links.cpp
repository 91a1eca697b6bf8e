#include "costmodel/sim/links.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "topology/fabric_graph.hpp"

namespace tw {
namespace {

std::size_t at(std::int32_t index) {
  return static_cast<std::size_t>(index);
}

}  // namespace

SimLinks::SimLinks(const Cluster& cluster, const Program& program, std::span<const SimGroupKind> kinds)
    : cluster_(cluster), program_(program), kinds_(kinds) {
  const EdgeRates rates = FabricGraph(cluster).rates();
  for (std::size_t i = 0; i < rates.gpu_nvlink.size(); ++i)
    port_.push_back(std::max(rates.gpu_nvlink[i], rates.gpu_host[i]));
  nic_ = rates.nic, uplink_ = rates.uplink;
  const std::int32_t each = cluster.gpus_per_node(), nics = cluster.node.nics;
  std::map<std::int32_t, std::vector<Rank>> of_nic, of_leaf;
  for (std::int32_t rank = 0; rank < program.grid().ranks(); ++rank) {
    const std::int32_t node = rank / each, pod = node / cluster.network.nodes_per_pod;
    const std::int32_t own = cluster.node.nic_of(rank % each), nic = node * nics + own;
    const std::int32_t leaf = pod * cluster.leaves_per_pod() + (cluster.network.rails ? own : 0);
    places_.push_back({node, nic, leaf, pod});
    of_nic[nic].push_back(Rank(rank)), of_leaf[leaf].push_back(Rank(rank));
  }
  if (cluster.nodes() == 1) return;
  for (auto& [nic, ranks] : of_nic) neighbours_.push_back(ranks);
  if (!uplink_.empty())
    for (auto& [leaf, ranks] : of_leaf) neighbours_.push_back(ranks);
}

void SimLinks::add_links(Rank rank) {
  const Place& place = places_[at(rank.value())];
  const auto add = [&](std::string name, SimLink::Tier tier, double rate, auto&& through) {
    const auto [found, made] = known_links_.try_emplace(name, links_.size());
    if (!made || rate <= 0) return;
    SimLink link{std::move(name), tier, rate, {}};
    for (std::int32_t r = 0; r < program_.grid().ranks(); ++r)
      if (through(places_[at(r)], Rank(r))) link.ranks.push_back(Rank(r));
    links_.push_back(std::move(link));
  };
  add(fmt::format("port of GPU {}", rank.value()), SimLink::Tier::port, port_[at(rank.value())],
      [&](const Place&, Rank r) { return r == rank; });
  if (cluster_.nodes() == 1) return;
  add(fmt::format("NIC {} of node {}", place.nic % cluster_.node.nics, place.node), SimLink::Tier::nic,
      nic_[at(place.nic)], [&](const Place& other, Rank) { return other.nic == place.nic; });
  if (uplink_.empty()) return;
  add(fmt::format("uplinks of leaf {}", place.leaf), SimLink::Tier::uplink, uplink_[at(place.leaf)],
      [&](const Place& other, Rank) { return other.leaf == place.leaf; });
}

void SimLinks::play(const Players& players) {
  players_ = &players;
  for (const Rank rank : players.rank) add_links(rank);
}

RankTraffic SimLinks::sent_by(Rank rank, const Cargo& cargo, std::int32_t kind, std::int32_t stage) {
  if (kind < 0) {
    const Place both[] = {places_[at(rank.value())], places_[at(program_.peer(rank, stage).value())]};
    return traffic_of({cargo.bytes, Traffic::next}, both, {}).front();
  }
  const SimGroupKind& groups = kinds_[at(kind)];
  const std::int32_t group = groups.of_rank[at(rank.value())];
  if (group < 0) return {};
  const std::span<const Rank> members = groups.at(group);
  const auto [known, made] = known_traffic_.try_emplace(std::tuple(kind, group, cargo));
  if (made) {
    std::vector<Place> places;
    for (const Rank member : members) places.push_back(places_[at(member.value())]);
    known->second = traffic_of(cargo, places, {});
  }
  const auto mine = std::find(members.begin(), members.end(), rank) - members.begin();
  return known->second[static_cast<std::size_t>(mine)];
}

// All ranks that the members stand for send at once, each over every group that it meets: their part of the
// link adds up.
double SimLinks::bytes_on(const SimLink& link, const SimOp& op, std::span<const std::int32_t> members) {
  double bytes = 0;
  for (const Rank rank : link.ranks) {
    const std::int32_t by = players_->of_rank[at(rank.value())];
    if (std::find(members.begin(), members.end(), by) == members.end()) continue;
    for (std::size_t i = 0; i < op.cargo.size(); ++i) {
      const std::int32_t kind = op.groups.empty() ? -1 : op.groups[i];
      const RankTraffic sent = sent_by(rank, op.cargo[i], kind, op.to);
      bytes += (link.tier == SimLink::Tier::port  ? sent.inside
                : link.tier == SimLink::Tier::nic ? sent.outside
                                                  : sent.uplink)
                   .out;
    }
  }
  return bytes;
}

LinkShares SimLinks::found(const SimOp& op, std::int32_t player, std::int32_t kind) {
  LinkShares out;
  std::vector<std::int32_t> members{player};
  if (kind >= 0) {
    const PlayedKind& played = players_->kinds[at(kind)];
    const auto all = played.at(played.of_player[at(player)]);
    members.assign(all.begin(), all.end());
  }
  const double alone = seconds(op.work);
  for (std::size_t l = 0; l < links_.size(); ++l) {
    const double share = bytes_on(links_[l], op, members) / alone / links_[l].rate;
    if (share > 0) out.push_back({static_cast<std::int32_t>(l), std::min(share, 1.0)});
  }
  return out;
}

const LinkShares& SimLinks::shares(const SimOp& op, std::int32_t player, std::int32_t kind) {
  const std::int32_t group = kind < 0 ? player : players_->kinds[at(kind)].of_player[at(player)];
  const Key key{kind, group, std::int32_t{op.to}, op.work, {op.cargo.begin(), op.cargo.end()}};
  const auto [place, made] = known_.try_emplace(key);
  if (made) place->second = found(op, player, kind);
  return place->second;
}

}  // namespace tw
