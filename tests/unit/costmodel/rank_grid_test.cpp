#include "costmodel/layout/rank_grid.hpp"

#include <gtest/gtest.h>

namespace tw {

// Beside Axis, so that argument-dependent look-up finds it.
static bool operator==(const Axis& a, const Axis& b) {
  return a.dim == b.dim && a.size == b.size && a.stride == b.stride;
}

namespace {

std::vector<std::int32_t> numbers(const std::vector<Rank>& ranks) {
  std::vector<std::int32_t> out;
  for (const Rank rank : ranks) out.push_back(rank.value());
  return out;
}
using Ranks = std::vector<std::int32_t>;
using Axes = std::vector<Axis>;

// tp 2, cp 2, dp 2, pp 2: rank = tp + 2 cp + 4 dp + 8 pp; ep 4, etp 1: rank = ep + 4 edp + 8 pp.
TEST(RankGrid, GroupsByHand) {
  const RankGrid grid(parse_layout("dp=2,tp=2,pp=2,cp=2,ep=4", 16));
  EXPECT_EQ(grid.ranks(), 16);
  EXPECT_EQ(numbers(grid.group_of(Rank(6), attention_group(bit(Dim::tp)))), (Ranks{6, 7}));
  EXPECT_EQ(numbers(grid.group_of(Rank(6), attention_group(bit(Dim::cp)))), (Ranks{4, 6}));
  EXPECT_EQ(numbers(grid.group_of(Rank(6), attention_group(bit(Dim::dp)))), (Ranks{2, 6}));
  EXPECT_EQ(numbers(grid.group_of(Rank(6), attention_group(bit(Dim::pp)))), (Ranks{6, 14}));
  EXPECT_EQ(numbers(grid.group_of(Rank(6), attention_group(bit(Dim::cp) | bit(Dim::dp)))),
            (Ranks{0, 2, 4, 6}));
  EXPECT_EQ(numbers(grid.group_of(Rank(6), expert_group(bit(Dim::ep)))), (Ranks{4, 5, 6, 7}));
  EXPECT_EQ(numbers(grid.group_of(Rank(6), expert_group(bit(Dim::edp)))), (Ranks{2, 6}));
  EXPECT_EQ(numbers(grid.group_of(Rank(6), expert_group(bit(Dim::etp)))), (Ranks{6}));
  EXPECT_EQ(grid.groups(expert_group(bit(Dim::ep))).size(), 4u);
  EXPECT_EQ(grid.coordinate(Rank(13), Dim::tp), 1);
  EXPECT_EQ(grid.coordinate(Rank(13), Dim::cp), 0);
  EXPECT_EQ(grid.coordinate(Rank(13), Dim::dp), 1);
  EXPECT_EQ(grid.coordinate(Rank(13), Dim::pp), 1);
  EXPECT_EQ(grid.rank_at(Scope::attention, {1, 0, 1, 1}), Rank(13));
  EXPECT_EQ(grid.size(Dim::edp), 2);
}

// tp 2, cp 2, pp 2, dp 2 with pp inside dp: rank = tp + 2 cp + 4 pp + 8 dp. ep 2: edp is 2 inside pp
// (ranks 2 apart) times 2 outside (8 apart).
TEST(RankGrid, PipelineInsideData) {
  const RankGrid grid(parse_layout("dp=2,tp=2,pp=2,cp=2,ep=2,order=tp-cp-ep-pp-dp", 16));
  EXPECT_EQ(numbers(grid.group_of(Rank(0), attention_group(bit(Dim::pp)))), (Ranks{0, 4}));
  EXPECT_EQ(numbers(grid.group_of(Rank(0), attention_group(bit(Dim::dp)))), (Ranks{0, 8}));
  EXPECT_EQ(numbers(grid.group_of(Rank(0), expert_group(bit(Dim::edp)))), (Ranks{0, 2, 8, 10}));
  EXPECT_EQ(grid.size(Dim::edp), 4);
  EXPECT_EQ(grid.coordinate(Rank(10), Dim::edp), 3);
}

TEST(RankGrid, AxesOfGroupsMergeWhereStridesGoOn) {
  const RankGrid grid(parse_layout("dp=4,tp=2,pp=3,cp=2,ep=4", 48));
  EXPECT_EQ(grid.group_axes(attention_group(bit(Dim::tp) | bit(Dim::cp))), (Axes{{Dim::tp, 4, 1}}));
  EXPECT_EQ(grid.group_axes(attention_group(bit(Dim::cp) | bit(Dim::dp))), (Axes{{Dim::cp, 8, 2}}));
  EXPECT_EQ(grid.group_axes(attention_group(bit(Dim::tp) | bit(Dim::dp))),
            (Axes{{Dim::tp, 2, 1}, {Dim::dp, 4, 4}}));
  EXPECT_EQ(grid.group_axes(attention_group(bit(Dim::pp))), (Axes{{Dim::pp, 3, 16}}));
  EXPECT_EQ(grid.group_axes(expert_group(bit(Dim::etp))), (Axes{}));
}

// dp 8, cp 2, tp 2: dense weights are the same on 16 ranks, 2 apart. hsdp 4: shards over 2 * 4 of
// them, replicas 16 apart. ep 4: edp 8, ranks 4 apart, shards of 4, replicas 16 apart.
TEST(RankGrid, ShardIsTheInnerPartAndReplicaTheOuter) {
  const Layout l = parse_layout("dp=8,tp=2,cp=2,ep=4,zero=1,hsdp=4", 32);
  EXPECT_EQ(state_shard_group(l, Scope::attention), (Axes{{Dim::cp, 8, 2}}));
  EXPECT_EQ(state_replica_group(l, Scope::attention), (Axes{{Dim::dp, 2, 16}}));
  EXPECT_EQ(state_shard_group(l, Scope::expert), (Axes{{Dim::edp, 4, 4}}));
  EXPECT_EQ(state_replica_group(l, Scope::expert), (Axes{{Dim::edp, 2, 16}}));
}

TEST(RankGrid, WithoutHsdpAllIsShardAndWithoutZeroAllIsReplica) {
  const Layout sharded = parse_layout("dp=4,tp=4,ep=2,zero=3", 16);  // edp 8 is more than dp
  EXPECT_EQ(state_shard_group(sharded, Scope::attention), (Axes{{Dim::dp, 4, 4}}));
  EXPECT_EQ(state_replica_group(sharded, Scope::attention), (Axes{}));
  EXPECT_EQ(state_shard_group(sharded, Scope::expert), (Axes{{Dim::edp, 8, 2}}));
  EXPECT_EQ(state_replica_group(sharded, Scope::expert), (Axes{}));
  const Layout plain = parse_layout("dp=4,tp=4,ep=2", 16);
  EXPECT_EQ(state_shard_group(plain, Scope::attention), (Axes{}));
  EXPECT_EQ(state_replica_group(plain, Scope::attention), (Axes{{Dim::dp, 4, 4}}));
  EXPECT_EQ(state_replica_group(plain, Scope::expert), (Axes{{Dim::edp, 8, 2}}));
}

// pp inside dp: edp = 4 inside (ranks 1 apart) * 4 outside (8 apart); shards of 8 take all of the
// inside and 2 of the outside.
TEST(RankGrid, ShardsMayReachOverThePipeline) {
  const Layout l = parse_layout("dp=16,tp=4,pp=2,zero=1,hsdp=8,order=tp-cp-ep-pp-dp", 128);
  EXPECT_EQ(state_shard_group(l, Scope::expert), (Axes{{Dim::edp, 4, 1}, {Dim::edp, 2, 8}}));
  EXPECT_EQ(state_replica_group(l, Scope::expert), (Axes{{Dim::edp, 8, 16}}));
  EXPECT_EQ(state_shard_group(l, Scope::attention), (Axes{{Dim::dp, 8, 8}}));
}

TEST(RankGrid, RanksFillNodesInOrder) {
  EXPECT_EQ(node_of(Rank(17), 8), Node(2));
  EXPECT_EQ(place_in_node(Rank(17), 8), LocalRank(1));
  const RankGrid grid(parse_layout("dp=2,tp=2", 4));
  EXPECT_EQ(grid.first(3), (std::vector<Rank>{Rank(0), Rank(1), Rank(2)}));
  EXPECT_EQ(grid.first(9).size(), 4u);
}

}  // namespace
}  // namespace tw
