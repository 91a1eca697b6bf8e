#include "topology/fabric.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <mutex>
#include <tuple>

#include "topology/check.hpp"
#include "topology/fabric_graph.hpp"
#include "topology/group_axes.hpp"

namespace tw {
namespace {

constexpr double kUnlimited = std::numeric_limits<double>::infinity();

std::size_t index(std::int32_t value) {
  return static_cast<std::size_t>(value);
}
std::int32_t narrow(std::int64_t value) {
  return static_cast<std::int32_t>(value);
}

struct NicLoad {
  double rate;
  std::int32_t users;  // ranks that send through it unless it is left out
};

// Rate of each of `active` ranks of a node, all equal. derived: a rank uses its own NIC, or, when
// that one is left out, all NICs that are kept (forwarded over NVLink, as NCCL does since 2.12:
// "Doubling all2all Performance with NCCL 2.12", NVIDIA blog). By Hall's condition the rate is the
// least of rate/users over kept NICs and, if any is left out, of kept rate/active and one NIC's rate
// (k ranks use at most k NICs). The best set to leave out is a prefix in order of rate/users; a lost
// NIC is simply the slowest.
double node_rate(std::vector<NicLoad>& nics, std::int32_t active) {
  const auto per_user = [](const NicLoad& nic) { return nic.users == 0 ? kUnlimited : nic.rate / nic.users; };
  std::sort(nics.begin(), nics.end(),
            [&](const NicLoad& a, const NicLoad& b) { return per_user(a) < per_user(b); });
  double kept = 0, fastest = 0, best = 0;
  for (std::size_t out = nics.size(); out-- > 0;) {
    kept += nics[out].rate;
    fastest = std::max(fastest, nics[out].rate);
    const double shared = std::min(kept / active, fastest);
    best = std::max(best, out == 0 ? per_user(nics[out]) : std::min(per_user(nics[out]), shared));
  }
  return best;
}

// Who sends into the network at once, per NIC, node and leaf.
struct Load {
  std::vector<std::int32_t> nic_users, node_active, leaf_nics;
  std::vector<bool> nic_crosses;  // some user's group leaves the pod
};

// What each rank of a node that sends gets, to its own pod and over the spine.
struct NodeRates {
  std::vector<double> same_pod, cross_pod;
  const std::vector<double>& at(std::int32_t tier) const { return tier == 2 ? cross_pod : same_pod; }
};

bool is_wider(const GroupLinks& a, const GroupLinks& b) {
  const auto key = [](const GroupLinks& g) { return std::tuple(g.nodes, g.tier, g.ranks_per_node, g.ranks); };
  return key(a) > key(b);
}

// Zero means that a group has no such traffic.
BytesPerSec lower(BytesPerSec a, BytesPerSec b) {
  return a.value == 0 || b.value == 0 ? std::max(a, b) : std::min(a, b);
}

}  // namespace

struct Fabric::State {
  FabricGraph graph;
  EdgeRates rates;
  NodeSpec spec;
  std::int32_t ranks, gpus, nics, nodes, nodes_per_pod, leaves;
  bool rails, mesh;
  Seconds nic_latency, switch_latency;
  NodeRates full_load;  // every rank sends: what most queries ask
  std::mutex seen_mutex;
  std::map<std::vector<GroupAxis>, GroupLinks> seen;  // of axes that no boundary cuts evenly
  double lowest_same_pod = 0, lowest_cross_pod = 0, lowest_nvlink = 0, lowest_host = 0;

  explicit State(const Cluster& cluster);
  std::int32_t node_of(Rank rank) const { return rank.value() / gpus; }
  std::int32_t pod_of(std::int32_t node) const { return node / nodes_per_pod; }
  std::int32_t nic_of(Rank rank) const { return node_of(rank) * nics + spec.nic_of(rank.value() % gpus); }
  std::int32_t leaf_of(std::int32_t node, std::int32_t nic) const {
    return pod_of(node) * leaves + (rails ? nic : 0);
  }

  Load empty_load() const;
  void add(Load& load, Rank rank, bool crosses) const;
  void count_leaf_nics(Load& load) const;
  double network_rate(const Load& load, std::int32_t node, bool crosses) const;
  NodeRates node_rates(Load& load) const;
  void rate_full_load();

  double intra_rate(double nvlink, double host, std::int32_t members) const;
  GroupLinks shape_of(std::span<const Rank> group) const;
  void rate_group(GroupLinks& shape, std::span<const Rank> group, const NodeRates& now) const;
  GroupLinks regular(std::span<const GroupAxis> axes, const BlockShape& on_nodes, bool crosses) const;
  Seconds latency(std::int32_t tier) const;
  template <class GroupAt>
  GroupLinks slowest(std::size_t count, const GroupAt& group_at) const;
};

Fabric::State::State(const Cluster& cluster)
    : graph(cluster),
      rates(graph.rates()),
      spec(cluster.node),
      ranks(cluster.gpus),
      gpus(cluster.gpus_per_node()),
      nics(cluster.node.nics),
      nodes(cluster.nodes()),
      nodes_per_pod(cluster.network.nodes_per_pod),
      leaves(cluster.leaves_per_pod()),
      rails(cluster.network.rails),
      mesh(cluster.node.link == NodeLink::nvlink_mesh),
      nic_latency(cluster.node.nic_latency),
      switch_latency(cluster.network.switch_latency) {
  lowest_nvlink = *std::min_element(rates.gpu_nvlink.begin(), rates.gpu_nvlink.end());
  lowest_host = *std::min_element(rates.gpu_host.begin(), rates.gpu_host.end());
  if (nodes > 1) rate_full_load();
}

Load Fabric::State::empty_load() const {
  Load load;
  load.nic_users.assign(index(nodes) * index(nics), 0);
  load.nic_crosses.assign(index(nodes) * index(nics), false);
  load.node_active.assign(index(nodes), 0);
  load.leaf_nics.assign(rates.uplink.size(), 0);
  return load;
}

void Fabric::State::add(Load& load, Rank rank, bool crosses) const {
  const std::size_t nic = index(nic_of(rank));
  ++load.nic_users[nic];
  ++load.node_active[index(node_of(rank))];
  if (crosses) load.nic_crosses[nic] = true;
}

// Lost NICs count as well: a leaf's uplinks are shared by port, so a fault speeds up no other group.
void Fabric::State::count_leaf_nics(Load& load) const {
  if (load.leaf_nics.empty()) return;
  for (std::int32_t node = 0; node < nodes; ++node) {
    for (std::int32_t nic = 0; nic < nics; ++nic) {
      if (load.nic_crosses[index(node * nics + nic)]) ++load.leaf_nics[index(leaf_of(node, nic))];
    }
  }
}

double Fabric::State::network_rate(const Load& load, std::int32_t node, bool crosses) const {
  std::vector<NicLoad> loads;
  loads.reserve(index(nics));
  for (std::int32_t nic = 0; nic < nics; ++nic) {
    double rate = rates.nic[index(node * nics + nic)];
    if (crosses) {
      const std::size_t leaf = index(leaf_of(node, nic));
      rate = std::min(rate, rates.uplink[leaf] / std::max(load.leaf_nics[leaf], 1));
    }
    loads.push_back({rate, load.nic_users[index(node * nics + nic)]});
  }
  return std::min(node_rate(loads, load.node_active[index(node)]), lowest_host);
}

NodeRates Fabric::State::node_rates(Load& load) const {
  count_leaf_nics(load);
  NodeRates out;
  for (std::int32_t node = 0; node < nodes; ++node) {
    const bool idle = load.node_active[index(node)] == 0;
    out.same_pod.push_back(idle ? 0 : network_rate(load, node, false));
    out.cross_pod.push_back(idle || rates.uplink.empty() ? 0 : network_rate(load, node, true));
  }
  return out;
}

void Fabric::State::rate_full_load() {
  Load load = empty_load();
  for (std::int32_t rank = 0; rank < ranks; ++rank) add(load, Rank(rank), !rates.uplink.empty());
  full_load = node_rates(load);
  const auto lowest = [](const std::vector<double>& all) {
    return *std::min_element(all.begin(), all.end());
  };
  lowest_same_pod = lowest(full_load.same_pod);
  lowest_cross_pod = lowest(full_load.cross_pod);
}

// In a mesh a rank reaches only its fellow members directly. A GPU without NVLink, or whose NVLink
// is gone, goes through its host.
double Fabric::State::intra_rate(double nvlink, double host, std::int32_t members) const {
  const double direct = mesh && gpus > 1 ? nvlink * (members - 1) / (gpus - 1) : nvlink;
  return std::max(direct, host);
}

// A message passes its leaf, or leaf, spine and leaf.
Seconds Fabric::State::latency(std::int32_t tier) const {
  if (tier == 0) return Seconds();
  return nic_latency + switch_latency * (tier == 1 ? 1 : 3);
}

GroupLinks Fabric::State::shape_of(std::span<const Rank> group) const {
  GroupLinks shape;
  shape.ranks = narrow(static_cast<std::int64_t>(group.size()));
  shape.nodes = 0;
  for (std::size_t first = 0, last = 0; first < group.size(); first = last, ++shape.nodes) {
    while (last < group.size() && node_of(group[last]) == node_of(group[first])) ++last;
    shape.ranks_per_node = std::max(shape.ranks_per_node, narrow(static_cast<std::int64_t>(last - first)));
  }
  const bool one_pod = pod_of(node_of(group.front())) == pod_of(node_of(group.back()));
  shape.tier = shape.nodes == 1 ? 0 : one_pod ? 1 : 2;
  return shape;
}

void Fabric::State::rate_group(GroupLinks& shape, std::span<const Rank> group, const NodeRates& now) const {
  double intra = kUnlimited, inter = kUnlimited;
  for (std::size_t first = 0, last = 0; first < group.size(); first = last) {
    const std::int32_t node = node_of(group[first]);
    while (last < group.size() && node_of(group[last]) == node) ++last;
    const auto members = narrow(static_cast<std::int64_t>(last - first));
    for (std::size_t i = first; members > 1 && i < last; ++i) {
      const std::size_t gpu = index(group[i].value());
      intra = std::min(intra, intra_rate(rates.gpu_nvlink[gpu], rates.gpu_host[gpu], members));
    }
    if (shape.nodes > 1) inter = std::min(inter, now.at(shape.tier)[index(node)]);
  }
  if (shape.ranks_per_node > 1) shape.intra = BytesPerSec(intra);
  if (shape.nodes > 1) shape.inter = BytesPerSec(inter);
}

template <class GroupAt>
GroupLinks Fabric::State::slowest(std::size_t count, const GroupAt& group_at) const {
  std::vector<GroupLinks> shapes(count);
  Load load = empty_load();
  for (std::size_t i = 0; i < count; ++i) {
    shapes[i] = shape_of(group_at(i));
    if (shapes[i].nodes == 1) continue;
    for (const Rank rank : group_at(i)) add(load, rank, shapes[i].tier == 2);
  }
  const NodeRates now = node_rates(load);
  GroupLinks worst;
  BytesPerSec intra, inter;
  for (std::size_t i = 0; i < count; ++i) {
    rate_group(shapes[i], group_at(i), now);
    intra = lower(intra, shapes[i].intra);
    inter = lower(inter, shapes[i].inter);
    if (is_wider(shapes[i], worst)) worst = shapes[i];
  }
  worst.intra = worst.ranks_per_node > 1 ? intra : BytesPerSec();
  worst.inter = inter;
  worst.inter_latency = latency(worst.tier);
  return worst;
}

// Every translate has this shape and every rank sends, so the rates of the full load hold.
GroupLinks Fabric::State::regular(std::span<const GroupAxis> axes, const BlockShape& on_nodes,
                                  bool crosses) const {
  GroupLinks out;
  for (const GroupAxis& axis : axes) out.ranks *= axis.size;
  out.nodes = narrow(on_nodes.blocks);
  out.ranks_per_node = narrow(on_nodes.inside);
  out.tier = out.nodes == 1 ? 0 : crosses ? 2 : 1;
  if (out.ranks_per_node > 1)
    out.intra = BytesPerSec(intra_rate(lowest_nvlink, lowest_host, out.ranks_per_node));
  if (out.nodes > 1) out.inter = BytesPerSec(crosses ? lowest_cross_pod : lowest_same_pod);
  out.inter_latency = latency(out.tier);
  return out;
}

Fabric::Fabric(const Cluster& cluster) : state_(std::make_unique<State>(cluster)) {}
Fabric::~Fabric() = default;
Fabric::Fabric(Fabric&&) noexcept = default;

GroupLinks Fabric::links(std::span<const GroupAxis> axes) const {
  State& s = *state_;
  check_axes(axes, s.ranks);
  const auto on_nodes = shape_on_blocks(axes, s.gpus);
  const auto on_pods = s.rates.uplink.empty() ? std::optional(BlockShape{})
                                              : shape_on_blocks(axes, std::int64_t{s.gpus} * s.nodes_per_pod);
  if (on_nodes && on_pods) return s.regular(axes, *on_nodes, on_pods->blocks > 1);
  const std::lock_guard lock(s.seen_mutex);
  const auto [at, is_new] = s.seen.try_emplace(std::vector(axes.begin(), axes.end()));
  if (!is_new) return at->second;
  const std::vector<Rank> members = members_of_all(axes, s.ranks);
  std::size_t size = 1;
  for (const GroupAxis& axis : axes) size *= index(axis.size);
  at->second = s.slowest(members.size() / size,
                         [&](std::size_t i) { return std::span(members).subspan(i * size, size); });
  return at->second;
}

GroupLinks Fabric::links(std::span<const std::vector<Rank>> groups) const {
  for (const std::vector<Rank>& group : groups) {
    TW_CHECK(!group.empty() && std::is_sorted(group.begin(), group.end()));
  }
  if (const auto axes = axes_of(groups, state_->ranks)) return links(*axes);
  return state_->slowest(groups.size(), [&](std::size_t i) { return std::span(groups[i]); });
}

GroupLinks Fabric::path(Rank from, Rank to) const {
  const State& s = *state_;
  TW_CHECK(from.value() >= 0 && from.value() < s.ranks && to.value() >= 0 && to.value() < s.ranks);
  GroupLinks out;
  if (from == to) return out;
  out.ranks = 2;
  const std::int32_t a = s.node_of(from), b = s.node_of(to);
  if (a == b) {
    out.ranks_per_node = 2;
    const auto rate = [&](Rank r) {
      return s.intra_rate(s.rates.gpu_nvlink[index(r.value())], s.rates.gpu_host[index(r.value())], 2);
    };
    out.intra = BytesPerSec(std::min(rate(from), rate(to)));
    return out;
  }
  out.nodes = 2;
  out.tier = s.pod_of(a) == s.pod_of(b) ? 1 : 2;
  const std::vector<double>& rates = s.full_load.at(out.tier);
  out.inter = BytesPerSec(std::min(rates[index(a)], rates[index(b)]));
  out.inter_latency = s.latency(out.tier);
  return out;
}

std::int32_t Fabric::ranks() const {
  return state_->ranks;
}
std::size_t Fabric::vertices() const {
  return state_->graph.vertices();
}
std::size_t Fabric::edges() const {
  return state_->graph.edges();
}
BytesPerSec Fabric::bisection() const {
  return state_->graph.bisection();
}

}  // namespace tw
