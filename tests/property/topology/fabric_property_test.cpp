#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "topology/check.hpp"
#include "topology/fabric.hpp"

namespace tw {
namespace {

std::int32_t within(std::int32_t low, std::int32_t high) {
  return *rc::gen::inRange(low, high + 1);
}

Cluster any_cluster() {
  Cluster cluster = load_cluster("h100-sxm:64");
  cluster.node.gpus = *rc::gen::element(2, 4, 6, 8);
  cluster.node.nics = *rc::gen::element(1, 2, cluster.node.gpus / 2, cluster.node.gpus);
  cluster.network.nodes_per_pod = within(1, 5);
  cluster.network.rails = *rc::gen::arbitrary<bool>();
  cluster.network.oversubscription = *rc::gen::element(1.0, 1.5, 2.0, 4.0);
  cluster.gpus = cluster.node.gpus * within(1, 12);
  return resized(cluster, cluster.gpus);
}

// Up to three faults that leave every node connected.
Cluster with_faults(Cluster cluster) {
  const std::int32_t count = within(0, 3);
  for (std::int32_t i = 0; i < count; ++i) {
    Cluster next = cluster;
    const std::int32_t kind = within(0, 2);
    const double share = *rc::gen::element(0.25, 0.5, 0.9, 1.0);
    if (kind == 0) {
      next.faults.value.push_back(
          {FaultKind::nic, within(0, cluster.nodes() - 1), within(0, cluster.node.nics - 1), share});
    } else if (kind == 1) {
      next.faults.value.push_back({FaultKind::leaf_uplink, within(0, cluster.pods() - 1),
                                   within(0, cluster.leaves_per_pod() - 1), share});
    } else {
      next.faults.value.push_back({FaultKind::nvswitch, within(0, cluster.nodes() - 1),
                                   within(0, cluster.gpus_per_node() - 1), share});
    }
    try {
      cluster = resized(next, next.gpus);
    } catch (const InputError&) {  // listed twice, or a node cut off: leave it out
    }
  }
  return cluster;
}

// Nested axes, alternately of the group and of its complement, over all divisors of the ranks.
std::vector<GroupAxis> any_axes(std::int32_t ranks) {
  std::vector<GroupAxis> axes;
  for (std::int32_t stride = 1; stride < ranks;) {
    std::vector<std::int32_t> sizes;
    for (std::int32_t size = 2; size <= ranks / stride; ++size) {
      if (ranks / stride % size == 0) sizes.push_back(size);
    }
    const std::int32_t size = *rc::gen::elementOf(sizes);
    if (*rc::gen::arbitrary<bool>()) axes.push_back({size, stride});
    stride *= size;
  }
  return axes;
}

std::vector<std::vector<Rank>> groups_of(const std::vector<GroupAxis>& axes, std::int32_t ranks) {
  std::map<std::int32_t, std::vector<Rank>> by_base;
  for (std::int32_t rank = 0; rank < ranks; ++rank) {
    std::int32_t base = rank;
    for (const auto [size, stride] : axes) base -= rank / stride % size * stride;
    by_base[base].emplace_back(rank);
  }
  std::vector<std::vector<Rank>> groups;
  for (auto& [base, group] : by_base) groups.push_back(group);
  return groups;
}

// The rules once more, read from the cluster's fields and not from the graph: every choice of NICs
// to leave out is tried, each rank's share is the least over subsets that may bind.
class Oracle {
 public:
  Oracle(const Cluster& cluster, const std::vector<std::vector<Rank>>& groups)
      : c_(cluster), groups_(groups) {
    for (const auto& group : groups) {
      if (nodes_of(group).size() == 1) continue;
      for (const Rank rank : group) {
        senders_[node_of(rank)].insert(rank);
        if (crosses(group)) crossing_nics_[leaf_of(rank)].insert({node_of(rank), nic_of(rank)});
      }
    }
  }

  GroupLinks links() const {
    GroupLinks worst;
    std::vector<double> intra, inter;
    for (const auto& group : groups_) {
      GroupLinks one;
      one.ranks = static_cast<std::int32_t>(group.size());
      const auto nodes = nodes_of(group);
      one.nodes = static_cast<std::int32_t>(nodes.size());
      for (const auto& [node, members] : nodes) {
        one.ranks_per_node = std::max(one.ranks_per_node, static_cast<std::int32_t>(members.size()));
        for (const Rank rank : members) {
          if (members.size() > 1) intra.push_back(nvlink(rank));
        }
        if (nodes.size() > 1) inter.push_back(node_rate(node, crosses(group)));
      }
      one.tier = nodes.size() == 1 ? 0 : crosses(group) ? 2 : 1;
      const auto key = [](const GroupLinks& g) {
        return std::tuple(g.nodes, g.tier, g.ranks_per_node, g.ranks);
      };
      if (key(one) > key(worst)) worst = one;
    }
    if (worst.ranks_per_node > 1) worst.intra = BytesPerSec(*std::min_element(intra.begin(), intra.end()));
    if (worst.nodes > 1) worst.inter = BytesPerSec(*std::min_element(inter.begin(), inter.end()));
    const double hops = worst.tier == 2 ? 3 : 1;
    if (worst.nodes > 1) worst.inter_latency = c_.node.nic_latency + c_.network.switch_latency * hops;
    return worst;
  }

 private:
  using Leaf = std::pair<std::int32_t, std::int32_t>;

  std::int32_t node_of(Rank rank) const { return rank.value() / c_.gpus_per_node(); }
  std::int32_t pod_of(std::int32_t node) const { return node / c_.network.nodes_per_pod; }
  std::int32_t nic_of(Rank rank) const {
    return rank.value() % c_.gpus_per_node() * c_.node.nics / c_.node.gpus;
  }
  Leaf leaf(std::int32_t node, std::int32_t nic) const { return {pod_of(node), c_.network.rails ? nic : 0}; }
  Leaf leaf_of(Rank rank) const { return leaf(node_of(rank), nic_of(rank)); }

  std::map<std::int32_t, std::vector<Rank>> nodes_of(const std::vector<Rank>& group) const {
    std::map<std::int32_t, std::vector<Rank>> nodes;
    for (const Rank rank : group) nodes[node_of(rank)].push_back(rank);
    return nodes;
  }
  bool crosses(const std::vector<Rank>& group) const {
    return pod_of(node_of(group.front())) != pod_of(node_of(group.back()));
  }
  double left(FaultKind kind, std::int32_t node, std::int32_t index) const {
    for (const Fault& fault : *c_.faults) {
      if (fault.kind == kind && fault.node == node && fault.index == index) return 1 - *fault.share;
    }
    return 1;
  }
  double nvlink(Rank rank) const {
    const double share = left(FaultKind::nvswitch, node_of(rank), rank.value() % c_.gpus_per_node());
    return std::max(share * c_.device.nvlink_one_way.value, c_.device.pcie_one_way.value);
  }
  double nic_rate(std::int32_t node, std::int32_t nic, bool spine) const {
    const double own = c_.node.nic_rate.value * left(FaultKind::nic, node, nic);
    if (!spine) return own;
    const Leaf at = leaf(node, nic);
    const double ports = c_.network.nodes_per_pod * (c_.network.rails ? 1.0 : c_.node.nics);
    const double uplinks = ports * c_.node.nic_rate.value / c_.network.oversubscription *
                           left(FaultKind::leaf_uplink, at.first, at.second);
    const auto sharing = crossing_nics_.find(at);
    return std::min(
        own, uplinks / (sharing == crossing_nics_.end() ? 1.0 : static_cast<double>(sharing->second.size())));
  }
  double node_rate(std::int32_t node, bool spine) const {
    double best = 0;
    for (unsigned left_out = 0; left_out < 1u << c_.node.nics; ++left_out) {
      best = std::max(best, rate_without(node, spine, left_out));
    }
    return std::min(best, c_.device.pcie_one_way.value);
  }
  double rate_without(std::int32_t node, bool spine, unsigned left_out) const {
    const std::set<Rank>& active = senders_.at(node);
    double kept = 0, fastest = 0, rate = 1e300;
    bool moved = false;
    for (std::int32_t nic = 0; nic < c_.node.nics; ++nic) {
      const auto users =
          std::count_if(active.begin(), active.end(), [&](Rank rank) { return nic_of(rank) == nic; });
      if (left_out >> nic & 1) {
        moved = moved || users > 0;
        continue;
      }
      const double own = nic_rate(node, nic, spine);
      kept += own;
      fastest = std::max(fastest, own);
      if (users > 0) rate = std::min(rate, own / static_cast<double>(users));
    }
    return moved ? std::min({rate, kept / static_cast<double>(active.size()), fastest}) : rate;
  }

  const Cluster& c_;
  const std::vector<std::vector<Rank>>& groups_;
  std::map<std::int32_t, std::set<Rank>> senders_;
  std::map<Leaf, std::set<std::pair<std::int32_t, std::int32_t>>> crossing_nics_;
};

void expect_same(const GroupLinks& a, const GroupLinks& b) {
  RC_ASSERT(std::tuple(a.ranks, a.nodes, a.ranks_per_node, a.tier) ==
            std::tuple(b.ranks, b.nodes, b.ranks_per_node, b.tier));
  const auto close = [](double x, double y) { return std::abs(x - y) <= 1e-12 * std::max(x, y); };
  RC_ASSERT(close(a.intra.value, b.intra.value));
  RC_ASSERT(close(a.inter.value, b.inter.value));
  RC_ASSERT(close(a.inter_latency.value, b.inter_latency.value));
}

RC_GTEST_PROP(FabricProperty, AxesEqualListsAndTheRules, ()) {
  const Cluster cluster = with_faults(any_cluster());
  const std::vector<GroupAxis> axes = any_axes(cluster.gpus);
  const auto groups = groups_of(axes, cluster.gpus);
  const Fabric fabric(cluster);
  const GroupLinks by_axes = fabric.links(axes);
  RC_ASSERT(fabric.links(groups) == by_axes);
  expect_same(by_axes, Oracle(cluster, groups).links());
}

// Any disjoint groups, not covering all ranks.
std::vector<std::vector<Rank>> any_groups(std::int32_t ranks) {
  const std::int32_t count = within(1, 6);
  std::map<std::int32_t, std::vector<Rank>> drawn;
  for (std::int32_t rank = 0; rank < ranks; ++rank) {
    const std::int32_t group = within(0, count);
    if (group < count) drawn[group].emplace_back(rank);
  }
  std::vector<std::vector<Rank>> groups;
  for (auto& [i, group] : drawn) groups.push_back(group);
  return groups;
}

RC_GTEST_PROP(FabricProperty, AnyDisjointGroupsFollowTheRules, ()) {
  const Cluster cluster = with_faults(any_cluster());
  const auto groups = any_groups(cluster.gpus);
  RC_PRE(!groups.empty());
  expect_same(Fabric(cluster).links(groups), Oracle(cluster, groups).links());
}

RC_GTEST_PROP(FabricProperty, MoreBandwidthIsNeverSlower, ()) {
  const Cluster slow = with_faults(any_cluster());
  Cluster fast = slow;
  const std::int32_t what = within(0, 4);
  if (what == 0) fast.node.nic_rate = fast.node.nic_rate * 2;
  if (what == 1) fast.device.nvlink_one_way = fast.device.nvlink_one_way * 2;
  if (what == 2) fast.device.pcie_one_way = fast.device.pcie_one_way * 2;
  if (what == 3) fast.network.oversubscription = 1;
  if (what == 4 && !fast.faults->empty()) fast.faults.value.pop_back();
  const auto groups = any_groups(slow.gpus);
  RC_PRE(!groups.empty());
  const GroupLinks before = Fabric(slow).links(groups), after = Fabric(fast).links(groups);
  RC_ASSERT(after.intra >= before.intra);
  RC_ASSERT(after.inter >= before.inter);
  RC_ASSERT(Fabric(fast).bisection() >= Fabric(slow).bisection());
}

// A fault in a node or pod that a set of groups does not touch changes nothing for them.
RC_GTEST_PROP(FabricProperty, FaultsAreLocal, ()) {
  const Cluster whole = any_cluster();
  RC_PRE(whole.pods() > 1);
  const std::int32_t pod_gpus = whole.network.nodes_per_pod * whole.gpus_per_node();
  Cluster hurt = whole;
  const std::int32_t node = within(0, whole.network.nodes_per_pod - 1);
  const double share = *rc::gen::element(0.3, 0.7);
  hurt.faults.value = {{FaultKind::nic, node, within(0, whole.node.nics - 1), share},
                       {FaultKind::leaf_uplink, 0, within(0, whole.leaves_per_pod() - 1), share},
                       {FaultKind::nvswitch, node, within(0, whole.gpus_per_node() - 1), share}};
  std::vector<std::vector<Rank>> elsewhere = any_groups(whole.gpus);
  for (auto& group : elsewhere) std::erase_if(group, [&](Rank rank) { return rank.value() < pod_gpus; });
  std::erase_if(elsewhere, [](const auto& group) { return group.empty(); });
  RC_PRE(!elsewhere.empty());
  RC_ASSERT(Fabric(hurt).links(elsewhere) == Fabric(whole).links(elsewhere));
}

RC_GTEST_PROP(FabricProperty, PathIsTheSlowerEnd, ()) {
  const Cluster cluster = with_faults(any_cluster());
  const Fabric fabric(cluster);
  const Rank a(within(0, cluster.gpus - 1)), b(within(0, cluster.gpus - 1));
  const GroupLinks there = fabric.path(a, b);
  RC_ASSERT(there == fabric.path(b, a));
  RC_ASSERT((there.inter.value > 0) == (there.nodes == 2));
  RC_ASSERT((there.intra.value > 0) == (there.nodes == 1 && a != b));
  // All ranks together are at most as fast as any pair of them.
  const std::vector<GroupAxis> all = {{cluster.gpus, 1}};
  const GroupLinks whole = fabric.links(all);
  if (there.tier == whole.tier && there.tier > 0) RC_ASSERT(whole.inter <= there.inter);
}

}  // namespace
}  // namespace tw
