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
    const std::int32_t node = rank / each, nic = node * nics + cluster.node.nic_of(rank % each);
    const std::int32_t leaf = node / cluster.network.nodes_per_pod * cluster.leaves_per_pod() +
                              (cluster.network.rails ? cluster.node.nic_of(rank % each) : 0);
    places_.push_back({node, nic, leaf});
    of_nic[nic].push_back(Rank(rank)), of_leaf[leaf].push_back(Rank(rank));
  }
  if (cluster.nodes() == 1) return;
  for (auto& [nic, ranks] : of_nic) neighbours_.push_back(ranks);
  if (!uplink_.empty())
    for (auto& [leaf, ranks] : of_leaf) neighbours_.push_back(ranks);
}

void SimLinks::add_links(Rank rank) {
  const Place& place = places_[at(rank.value())];
  const auto add = [&](std::string name, double rate, auto&& through) {
    const auto [found, made] = known_links_.try_emplace(name, links_.size());
    if (!made || rate <= 0) return;
    SimLink link{std::move(name), rate, {}};
    for (std::int32_t r = 0; r < program_.grid().ranks(); ++r)
      if (through(Rank(r))) link.ranks.push_back(Rank(r));
    links_.push_back(std::move(link));
  };
  add(fmt::format("port of GPU {}", rank.value()), port_[at(rank.value())],
      [&](Rank r) { return r == rank; });
  if (cluster_.nodes() == 1) return;
  add(fmt::format("NIC {} of node {}", place.nic % cluster_.node.nics, place.node), nic_[at(place.nic)],
      [&](Rank r) { return places_[at(r.value())].nic == place.nic; });
  if (uplink_.empty()) return;
  add(fmt::format("uplinks of leaf {}", place.leaf), uplink_[at(place.leaf)],
      [&](Rank r) { return places_[at(r.value())].leaf == place.leaf; });
}

void SimLinks::play(const Players& players) {
  players_ = &players;
  for (const Rank rank : players.rank) add_links(rank);
}

// Of a group of n with k on the rank's node. The wire: what all members together send over the links.
SimLinks::Sent SimLinks::sent_in_group(std::span<const Rank> group, Rank rank, const SimOp& op) const {
  const auto n = static_cast<double>(group.size());
  const std::int32_t node = places_[at(rank.value())].node;
  const auto k = static_cast<double>(
      std::count_if(group.begin(), group.end(), [&](Rank r) { return places_[at(r.value())].node == node; }));
  const auto bytes = static_cast<double>(op.bytes);
  if (op.pattern == Traffic::pairs) return {bytes * (k - 1) / n, bytes * (n - k) / n};
  const double round = bytes * (op.pattern == Traffic::twice_round ? 2 : 1) * (n - 1) / n;
  if (k == n) return {round, 0};
  return {k > 1 ? round * (k - 1) / k : 0, round / k};
}

SimLinks::Sent SimLinks::sent_by(Rank rank, const SimOp& op, std::int32_t kind) const {
  if (kind < 0) {
    const Rank to = program_.peer(rank, op.to);
    const bool home = places_[at(rank.value())].node == places_[at(to.value())].node;
    const auto bytes = static_cast<double>(op.bytes);
    return home ? Sent{bytes, 0} : Sent{0, bytes};
  }
  const SimGroupKind& groups = kinds_[at(kind)];
  const std::int32_t group = groups.of_rank[at(rank.value())];
  return group < 0 ? Sent{} : sent_in_group(groups.at(group), rank, op);
}

// All ranks that the members stand for send at once: their part of each link adds up.
LinkShares SimLinks::found(const SimOp& op, std::int32_t player, std::int32_t kind) const {
  LinkShares out;
  std::vector<std::int32_t> members{player};
  if (kind >= 0) {
    const PlayedKind& played = players_->kinds[at(kind)];
    const auto all = played.at(played.of_player[at(player)]);
    members.assign(all.begin(), all.end());
  }
  const double alone = seconds(op.work);
  for (std::size_t l = 0; l < links_.size(); ++l) {
    const SimLink& link = links_[l];
    const bool port = link.name.starts_with("port");
    double bytes = 0;
    for (const Rank rank : link.ranks) {
      const std::int32_t by = players_->of_rank[at(rank.value())];
      if (std::find(members.begin(), members.end(), by) == members.end()) continue;
      const Sent sent = sent_by(rank, op, kind);
      bytes += port ? sent.inside : sent.outside;
    }
    const double share = bytes / alone / link.rate;
    if (share > 0) out.push_back({static_cast<std::int32_t>(l), std::min(share, 1.0)});
  }
  return out;
}

const LinkShares& SimLinks::shares(const SimOp& op, std::int32_t player, std::int32_t kind) {
  const std::int32_t group = kind < 0 ? player : players_->kinds[at(kind)].of_player[at(player)];
  const auto key =
      std::tuple(kind, group, static_cast<std::int32_t>(op.pattern), op.bytes, op.work, std::int32_t{op.to});
  const auto [place, made] = known_.try_emplace(key);
  if (made) place->second = found(op, player, kind);
  return place->second;
}

}  // namespace tw
