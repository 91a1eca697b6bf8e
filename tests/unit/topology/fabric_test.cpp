#include "topology/fabric.hpp"

#include <gtest/gtest.h>

#include <tuple>

namespace tw {
namespace {

BytesPerSec gbps(double count) {
  return BytesPerSec(count * 1e9);
}

GroupLinks links(const Cluster& cluster, std::vector<GroupAxis> axes) {
  return Fabric(cluster).links(axes);
}

GroupLinks one_group(const Cluster& cluster, const std::vector<std::int32_t>& ranks) {
  std::vector<std::vector<Rank>> groups(1);
  for (const std::int32_t rank : ranks) groups[0].emplace_back(rank);
  return Fabric(cluster).links(groups);
}

Cluster with_fault(Cluster cluster, Fault fault) {
  cluster.faults.value.push_back(fault);
  return resized(cluster, cluster.gpus);
}

// 8 nodes in two pods of 4; leaves with half as many uplinks as down-links.
Cluster oversubscribed() {
  Cluster cluster = load_cluster("h100-sxm:64");
  cluster.network.nodes_per_pod = 4;
  cluster.network.oversubscription = 2;
  return cluster;
}

TEST(Fabric, GroupOfOneNodeUsesItsNvlink) {
  const GroupLinks tp = links(load_cluster("h100-sxm:64"), {{8, 1}});
  // 18 NVLink4 links of 25 GB/s one way, spread over 4 planes: 4 x 112.5.
  const GroupLinks expected{.ranks = 8,
                            .nodes = 1,
                            .ranks_per_node = 8,
                            .tier = 0,
                            .intra = gbps(450),
                            .inter = {},
                            .inter_latency = {}};
  EXPECT_EQ(tp, expected);
}

TEST(Fabric, GroupsOfOneRankPerNodeShareTheNics) {
  const GroupLinks dp = links(load_cluster("h100-sxm:64"), {{8, 8}});
  // 8 sibling groups, 8 NICs of 400 Gb/s: one each. 1.2 us and one leaf of 130 ns.
  const GroupLinks expected{.ranks = 8,
                            .nodes = 8,
                            .ranks_per_node = 1,
                            .tier = 1,
                            .intra = {},
                            .inter = gbps(50),
                            .inter_latency = Seconds(1.2e-6 + 130e-9)};
  EXPECT_EQ(dp.inter, expected.inter);
  EXPECT_NEAR(dp.inter_latency.value, 1.33e-6, 1e-15);
  EXPECT_EQ(std::tuple(dp.ranks, dp.nodes, dp.ranks_per_node, dp.tier, dp.intra),
            std::tuple(8, 8, 1, 1, gbps(0)));
}

TEST(Fabric, GroupOfTwoWholeNodesHasBothRates) {
  const GroupLinks group = links(load_cluster("h100-sxm:64"), {{16, 1}});
  EXPECT_EQ(std::tuple(group.ranks, group.nodes, group.ranks_per_node, group.tier), std::tuple(16, 2, 8, 1));
  EXPECT_EQ(group.intra, gbps(450));
  EXPECT_EQ(group.inter, gbps(50));
}

TEST(Fabric, OneGroupAloneUsesNoMoreNicsThanItsRanks) {
  // Two ranks on each of two nodes: each its own NIC, although six more are idle.
  EXPECT_EQ(one_group(load_cluster("h100-sxm:64"), {0, 1, 8, 9}).inter, gbps(50));
}

TEST(Fabric, RanksShareTheOnlyNicOfABox) {
  // 100 Gb/s = 12.5 GB/s over 8 cards; in the box PCIe Gen4 x16.
  const GroupLinks all = links(load_cluster("rtx-4090:16"), {{16, 1}});
  EXPECT_EQ(all.inter, gbps(1.5625));
  EXPECT_EQ(all.intra, gbps(32));
  // Two NICs of 32 GB/s over 8 GPUs.
  EXPECT_EQ(links(load_cluster("l40s-pcie:16"), {{2, 8}}).inter, gbps(8));
}

TEST(Fabric, H800AndNvl72HaveTheirOwnNvlink) {
  EXPECT_EQ(links(load_cluster("h800:2048"), {{8, 1}}).intra, gbps(200));
  const Cluster rack = load_cluster("gb200-nvl72:256");  // 4 domains, 64 GPUs of each
  EXPECT_EQ(std::tuple(links(rack, {{64, 1}}).nodes, links(rack, {{64, 1}}).tier), std::tuple(1, 0));
  EXPECT_EQ(std::tuple(links(rack, {{128, 1}}).nodes, links(rack, {{128, 1}}).ranks_per_node),
            std::tuple(2, 64));
  EXPECT_NEAR(links(rack, {{64, 1}}).intra.value, 900e9, 1);
  EXPECT_EQ(links(rack, {{4, 64}}).inter, gbps(50));
}

TEST(Fabric, LostNicSlowsTheGroupsOfItsNodeOnly) {
  const Cluster whole = load_cluster("h100-sxm:64");
  const Cluster cluster = with_fault(whole, {FaultKind::nic, 3, 5, 1.0});
  EXPECT_EQ(links(cluster, {{8, 8}}).inter, gbps(43.75));  // 8 ranks share 7 x 50 GB/s
  EXPECT_EQ(links(cluster, {{8, 1}}), links(whole, {{8, 1}}));
  EXPECT_EQ(one_group(cluster, {0, 8}), one_group(whole, {0, 8}));  // nodes 0 and 1
  EXPECT_EQ(one_group(cluster, {16, 24}).inter, gbps(50));          // node 3, but NIC 0, alone
  EXPECT_EQ(one_group(cluster, {21, 29}).inter, gbps(50));          // NIC 5: a neighbour's is idle
  EXPECT_EQ(Fabric(cluster).path(Rank(0), Rank(8)).inter, gbps(50));
  EXPECT_EQ(Fabric(cluster).path(Rank(0), Rank(24)).inter, gbps(43.75));
}

TEST(Fabric, DegradedNicIsUsedOrLeftOutWhicheverIsFaster) {
  const Cluster whole = load_cluster("h100-sxm:16");
  // 95% left: 47.5 GB/s beats 7 NICs for 8 ranks; 10% left does not.
  EXPECT_NEAR(links(with_fault(whole, {FaultKind::nic, 0, 0, 0.05}), {{2, 8}}).inter.value, 47.5e9, 1);
  EXPECT_NEAR(links(with_fault(whole, {FaultKind::nic, 0, 0, 0.9}), {{2, 8}}).inter.value, 43.75e9, 1);
}

TEST(Fabric, OversubscribedLeavesLimitGroupsThatLeaveThePod) {
  const Cluster cluster = oversubscribed();
  const GroupLinks crossing = links(cluster, {{2, 32}});  // nodes n and n + 4
  // Leaf i: 4 down-links of 50 GB/s, 2 x 50 up, shared by the 4 ranks of its rail: 25.
  EXPECT_EQ(crossing.inter, gbps(25));
  EXPECT_EQ(crossing.tier, 2);
  EXPECT_NEAR(crossing.inter_latency.value, 1.2e-6 + 3 * 130e-9, 1e-15);
  EXPECT_EQ(links(cluster, {{4, 8}}).inter, gbps(50));     // within the pod
  EXPECT_EQ(one_group(cluster, {0, 32}).inter, gbps(50));  // alone on its leaf: 100 GB/s of uplinks
}

TEST(Fabric, LostUplinksSlowOnlyGroupsThatCrossThem) {
  Cluster whole = oversubscribed();
  whole.network.oversubscription = 1;
  const Cluster cluster = with_fault(whole, {FaultKind::leaf_uplink, 1, 2, 1.0});
  EXPECT_EQ(links(cluster, {{2, 32}}).inter, gbps(43.75));  // 7 rails left for 8 ranks per node
  EXPECT_EQ(links(cluster, {{4, 8}}), links(whole, {{4, 8}}));
  EXPECT_EQ(links(cluster, {{8, 1}}), links(whole, {{8, 1}}));
  EXPECT_EQ(one_group(cluster, {0, 32}), one_group(whole, {0, 32}));  // rail 0
}

TEST(Fabric, LostNvswitchEdgeSlowsOnlyInNodeGroupsOfThatGpu) {
  const Cluster whole = load_cluster("h100-sxm:64");
  const Cluster cluster = with_fault(whole, {FaultKind::nvswitch, 2, 1, 0.25});  // one of 4 planes
  EXPECT_EQ(links(cluster, {{8, 1}}).intra, gbps(337.5));
  EXPECT_EQ(links(cluster, {{8, 8}}), links(whole, {{8, 8}}));
  EXPECT_EQ(one_group(cluster, {16, 17}).intra, gbps(337.5));
  EXPECT_EQ(one_group(cluster, {16, 18}).intra, gbps(450));
  EXPECT_EQ(one_group(cluster, {0, 1}).intra, gbps(450));
  // Without any NVLink the GPU talks over PCIe.
  EXPECT_EQ(links(with_fault(whole, {FaultKind::nvswitch, 2, 1, 1.0}), {{8, 1}}).intra, gbps(64));
}

TEST(Fabric, MeshReachesOnlyMembersDirectly) {
  Cluster cluster = load_cluster("h100-sxm:8");
  cluster.node.link = NodeLink::nvlink_mesh;
  cluster.node.gpus = cluster.gpus = 4;
  cluster.node.nics = 4;
  // 450 GB/s over 3 peers: a pair has 150 of them.
  EXPECT_EQ(links(cluster, {{4, 1}}).intra, gbps(450));
  EXPECT_EQ(links(cluster, {{2, 1}}).intra, gbps(150));
}

TEST(Fabric, UnevenGroupsTakeTheWidestShapeAndTheLowestRates) {
  // 48 GPUs in groups of 3: {0,1,2} in a node, {6,7,8} over two.
  const GroupLinks group = links(load_cluster("h100-sxm:48"), {{3, 1}});
  EXPECT_EQ(std::tuple(group.ranks, group.nodes, group.ranks_per_node, group.tier), std::tuple(3, 2, 2, 1));
  EXPECT_EQ(group.intra, gbps(450));
  EXPECT_EQ(group.inter, gbps(50));
}

TEST(Fabric, PathsFollowNodesAndPods) {
  const Fabric fabric(oversubscribed());
  EXPECT_EQ(fabric.path(Rank(0), Rank(0)), GroupLinks{});
  EXPECT_EQ(fabric.path(Rank(0), Rank(7)).intra, gbps(450));
  EXPECT_EQ(fabric.path(Rank(0), Rank(8)).inter, gbps(50));
  EXPECT_EQ(fabric.path(Rank(0), Rank(8)).tier, 1);
  EXPECT_EQ(fabric.path(Rank(0), Rank(63)).inter, gbps(25));
  EXPECT_EQ(fabric.path(Rank(0), Rank(63)).tier, 2);
}

TEST(Fabric, GraphHoldsEveryLink) {
  const Fabric fabric(load_cluster("h100-sxm:16"));
  // Per node 8 GPUs, 4 planes, host, 8 NICs; 8 leaves. One pod: no spine.
  EXPECT_EQ(fabric.vertices(), 2u * 21 + 8);
  // Per node 8 x 4 to planes, 8 to the host, 8 to NICs, 8 to leaves.
  EXPECT_EQ(fabric.edges(), 2u * 56);
  // Two pods: 8 leaves each, a spine, 16 uplinks.
  EXPECT_EQ(Fabric(oversubscribed()).vertices(), 8u * 21 + 16 + 1);
  EXPECT_EQ(Fabric(oversubscribed()).edges(), 8u * 56 + 16);
}

TEST(Fabric, BisectionIsTheMaxFlowBetweenHalves) {
  EXPECT_EQ(Fabric(load_cluster("h100-sxm:64")).bisection(), gbps(1600));  // 4 nodes x 8 x 50
  EXPECT_EQ(Fabric(oversubscribed()).bisection(), gbps(800));              // 8 leaves x 2 x 50
  EXPECT_EQ(Fabric(with_fault(oversubscribed(), {FaultKind::leaf_uplink, 0, 3, 0.5})).bisection(), gbps(750));
  EXPECT_EQ(Fabric(load_cluster("h100-sxm:8")).bisection(), gbps(4 * (450 + 64)));  // NVLink, and PCIe
  EXPECT_EQ(Fabric(load_cluster("rtx-4090:16")).bisection(), gbps(12.5));
}

TEST(Fabric, RegularGroupsAsListsEqualTheirAxes) {
  const Fabric fabric(load_cluster("h100-sxm:64"));
  std::vector<std::vector<Rank>> groups(8);
  for (std::int32_t rank = 0; rank < 64; ++rank)
    groups[static_cast<std::size_t>(rank % 8)].emplace_back(rank);
  EXPECT_EQ(fabric.links(groups), fabric.links(std::vector<GroupAxis>{{8, 8}}));
}

TEST(Fabric, ListsThatOnlyBeginRegularAreReadWhole) {
  std::vector<std::vector<Rank>> groups;
  const auto add = [&](std::int32_t a, std::int32_t b) { groups.push_back({Rank(a), Rank(b)}); };
  for (const std::int32_t base : {0, 2, 4, 10, 12, 14}) add(base, base + 1);
  EXPECT_EQ(Fabric(load_cluster("h100-sxm:16")).links(groups).tier, 0);
  add(6, 9);
  add(7, 8);
  const GroupLinks group = Fabric(load_cluster("h100-sxm:16")).links(groups);
  EXPECT_EQ(std::tuple(group.nodes, group.ranks_per_node, group.tier, group.inter),
            std::tuple(2, 1, 1, gbps(50)));
}

TEST(FabricDeathTest, RefusesAxesThatDoNotPartitionTheRanks) {
  const Fabric fabric(load_cluster("h100-sxm:64"));
  EXPECT_DEATH(fabric.links(std::vector<GroupAxis>{{3, 1}}), "internal check failed");
  EXPECT_DEATH(fabric.links(std::vector<GroupAxis>{{4, 1}, {2, 2}}), "internal check failed");
  EXPECT_DEATH(fabric.path(Rank(0), Rank(64)), "internal check failed");
}

}  // namespace
}  // namespace tw
