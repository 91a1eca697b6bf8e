#include "costmodel/sim/links.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "topology/check.hpp"

namespace tw {
namespace {

std::size_t at(std::int32_t index) {
  return static_cast<std::size_t>(index);
}

double port(const EdgeRates& rates, std::int32_t rank) {
  return std::max(rates.gpu_nvlink[at(rank)], rates.gpu_host[at(rank)]);
}

}  // namespace

std::vector<Place> places_of(const Cluster& cluster, std::int32_t ranks) {
  std::vector<Place> out;
  const std::int32_t each = cluster.gpus_per_node(), nics = cluster.node.nics;
  for (std::int32_t rank = 0; rank < ranks; ++rank) {
    const std::int32_t node = rank / each, pod = node / cluster.network.nodes_per_pod;
    const std::int32_t own = cluster.node.nic_of(rank % each), nic = node * nics + own;
    const std::int32_t leaf = pod * cluster.leaves_per_pod() + (cluster.network.rails ? own : 0);
    out.push_back({node, nic, leaf, pod});
  }
  return out;
}

std::vector<std::vector<double>> link_rates(const Cluster& cluster, std::int32_t ranks) {
  const EdgeRates rates = FabricGraph(cluster).rates();
  const std::vector<Place> places = places_of(cluster, ranks);
  std::vector<double> left(static_cast<std::size_t>(cluster.nodes()), 0);
  for (std::size_t nic = 0; nic < rates.nic.size(); ++nic)
    left[nic / static_cast<std::size_t>(cluster.node.nics)] += rates.nic[nic] > 0;
  std::vector<std::vector<double>> out;
  for (std::int32_t rank = 0; rank < ranks; ++rank) {
    const Place& place = places[at(rank)];
    std::vector<double>& own = out.emplace_back();
    own = {port(rates, rank), left[at(place.node)]};
    if (!rates.nic.empty()) own.push_back(rates.nic[at(place.nic)]);
    if (!rates.uplink.empty()) own.push_back(rates.uplink[at(place.leaf)]);
  }
  return out;
}

SimLinks::SimLinks(const Cluster& cluster, const Program& program, std::span<const SimGroupKind> kinds,
                   std::span<const SendMatrix> matrices)
    : cluster_(cluster),
      program_(program),
      kinds_(kinds),
      places_(places_of(cluster, program.grid().ranks())),
      rates_(FabricGraph(cluster).rates()),
      matrices_(matrices) {
  if (cluster.nodes() == 1) return;
  std::map<std::int32_t, std::vector<Rank>> of_nic, of_leaf;
  for (std::int32_t rank = 0; rank < program.grid().ranks(); ++rank) {
    nics_.push_back(nics_of(rank));
    for (const std::int32_t nic : nics_.back()) of_nic[nic].push_back(Rank(rank));
    of_leaf[places_[at(rank)].leaf].push_back(Rank(rank));
  }
  for (auto& [nic, ranks] : of_nic) neighbours_.push_back(ranks);
  if (!rates_.uplink.empty())
    for (auto& [leaf, ranks] : of_leaf) neighbours_.push_back(ranks);
}

std::vector<std::int32_t> SimLinks::nics_of(std::int32_t rank) const {
  const Place& place = places_[at(rank)];
  if (rates_.nic[at(place.nic)] > 0) return {place.nic};
  std::vector<std::int32_t> left;
  for (std::int32_t nic = place.node * cluster_.node.nics; nic < (place.node + 1) * cluster_.node.nics; ++nic)
    if (rates_.nic[at(nic)] > 0) left.push_back(nic);
  TW_CHECK(!left.empty());  // a node that is cut off is refused before
  return left;
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
  add(fmt::format("port of GPU {}", rank.value()), SimLink::Tier::port, port(rates_, rank.value()),
      [&](const Place&, Rank r) { return r == rank; });
  if (cluster_.nodes() == 1) return;
  for (const std::int32_t nic : nics_[at(rank.value())]) {
    const auto through = [&](const Place& other, Rank r) {
      if (other.node != place.node) return false;
      const std::vector<std::int32_t>& nics = nics_[at(r.value())];
      return std::find(nics.begin(), nics.end(), nic) != nics.end();
    };
    add(fmt::format("NIC {} of node {}", nic % cluster_.node.nics, place.node), SimLink::Tier::nic,
        rates_.nic[at(nic)], through);
  }
  if (rates_.uplink.empty()) return;
  add(fmt::format("uplinks of leaf {}", place.leaf), SimLink::Tier::uplink, rates_.uplink[at(place.leaf)],
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
    known->second = traffic_of(cargo, places, cargo.matrix < 0 ? SendMatrix{} : matrices_[at(cargo.matrix)]);
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
    for (std::size_t i = 0; op.cargo && i < op.cargo->size(); ++i) {
      const Cargo& cargo = (*op.cargo)[i];
      const std::int32_t kind = op.groups.empty() ? -1 : op.groups[i];
      const RankTraffic sent = sent_by(rank, cargo, kind, op.to);
      const Sent& tier = link.tier == SimLink::Tier::port  ? sent.inside
                         : link.tier == SimLink::Tier::nic ? sent.outside
                                                           : sent.uplink;
      const auto ways = link.tier == SimLink::Tier::nic ? nics_[at(rank.value())].size() : 1;
      // Where it is uneven, a link is as busy as in its busier direction.
      bytes += (cargo.matrix < 0 ? tier.out : std::max(tier.out, tier.in)) / static_cast<double>(ways);
    }
  }
  return bytes;
}

LinkShares SimLinks::found(const SimOp& op, std::int32_t player, std::int32_t kind, SimTime work) {
  LinkShares out;
  std::vector<std::int32_t> members{player};
  if (kind >= 0) {
    const PlayedKind& played = players_->kinds[at(kind)];
    const auto all = played.at(played.of_player[at(player)]);
    members.assign(all.begin(), all.end());
  }
  const double alone = seconds(work);
  for (std::size_t l = 0; l < links_.size(); ++l) {
    const double share = bytes_on(links_[l], op, members) / alone / links_[l].rate;
    // Another algorithm than rings may need less of a link.
    if (share > 0) out.push_back({static_cast<std::int32_t>(l), std::min(share, 1.0)});
  }
  return out;
}

const LinkShares& SimLinks::shares(const SimOp& op, std::int32_t player, std::int32_t kind, SimTime work) {
  const std::int32_t group = kind < 0 ? player : players_->kinds[at(kind)].of_player[at(player)];
  const Key key{kind, group, std::int32_t{op.to}, work, op.cargo};
  const auto [place, made] = known_.try_emplace(key);
  if (made) place->second = found(op, player, kind, work);
  return place->second;
}

}  // namespace tw
