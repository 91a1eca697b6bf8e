// Properties of layouts and of the rank grid over random layouts.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <numeric>

#include "costmodel/layout/rank_grid.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

template <class E>
E any_enum(int count) {
  return static_cast<E>(*rc::gen::inRange(0, count));
}

Recompute any_recompute() {
  Recompute r;
  r.full = *rc::gen::arbitrary<bool>();
  if (r.full)
    r.full_layers = *rc::gen::inRange(0, 100);
  else
    r.modules = static_cast<std::uint8_t>(*rc::gen::inRange(0, 64));
  return r;
}

std::int32_t any_size() {
  return *rc::gen::inRange(1, 33);
}

// Any text can say, legal or not.
Layout any_layout() {
  Layout l{.dp = any_size(),
           .tp = any_size(),
           .pp = any_size(),
           .cp = any_size(),
           .ep = any_size(),
           .etp = any_size(),
           .vpp = any_size(),
           .sp = *rc::gen::arbitrary<bool>(),
           .zero = *rc::gen::inRange(0, 4),
           .hsdp = *rc::gen::inRange(0, 33),
           .mb = any_size(),
           .recompute = any_recompute(),
           .schedule = static_cast<std::uint8_t>(*rc::gen::inRange(0, kSchedules)),
           .split = {}};
  l.cp_kind = any_enum<CpKind>(3);
  l.dispatch = any_enum<Dispatch>(4);
  l.order = any_enum<AxisOrder>(2);
  l.offload = any_enum<Offload>(2);
  l.precision = any_enum<Precision>(7);
  l.split = *rc::gen::container<std::vector<std::int32_t>>(rc::gen::inRange(1, 200));
  return l;
}

RC_GTEST_PROP(LayoutText, ParseOfPrintIsTheSame, ()) {
  const Layout l = any_layout();
  RC_ASSERT(parse_layout(to_string(l), 0) == l);
  RC_ASSERT(parse_layout(to_string(l), l.gpus()) == l);
  RC_ASSERT(parse_recompute(to_string(l.recompute)) == l.recompute);
}

RC_GTEST_PROP(LayoutText, AnyTextIsReadOrRefusedInOneLine, (const std::string& text)) {
  try {
    static_cast<void>(parse_layout(text, 8));
  } catch (const InputError& error) {
    RC_ASSERT(std::string(error.what()).find('\n') == std::string::npos);
  }
}

std::int32_t divisor_of(std::int32_t number) {
  std::vector<std::int32_t> all;
  for (std::int32_t d = 1; d <= number; ++d) {
    if (number % d == 0) all.push_back(d);
  }
  return *rc::gen::elementOf(all);
}

// One that the grid can lay: experts folded within a stage, or within tp*cp where pp is inside dp.
Layout any_grid() {
  Layout l{.dp = *rc::gen::inRange(1, 7),
           .tp = *rc::gen::inRange(1, 5),
           .pp = *rc::gen::inRange(1, 5),
           .cp = *rc::gen::inRange(1, 4),
           .zero = *rc::gen::inRange(0, 4),
           .split = {}};
  l.order = any_enum<AxisOrder>(2);
  const std::int32_t room = l.order == AxisOrder::tp_cp_ep_pp_dp ? l.tp * l.cp : l.tp * l.cp * l.dp;
  l.ep = divisor_of(room);
  l.etp = divisor_of(room / l.ep);
  return l;
}

GroupKey any_key() {
  const std::uint8_t dims = static_cast<std::uint8_t>(*rc::gen::inRange(0, 128));
  return {any_enum<Scope>(2), dims};
}

RC_GTEST_PROP(RankGrid, RanksAndCoordinatesAreOneToOne, ()) {
  const Layout l = any_grid();
  const RankGrid grid(l);
  RC_ASSERT(grid.ranks() == l.gpus());
  for (const Scope scope : {Scope::attention, Scope::expert}) {
    std::vector<bool> met(static_cast<std::size_t>(grid.ranks()));
    std::vector<std::int32_t> at(grid.axes(scope).size(), 0);
    for (std::int32_t count = 0; count < grid.ranks(); ++count) {
      const Rank rank = grid.rank_at(scope, at);
      RC_ASSERT(!met.at(static_cast<std::size_t>(rank.value())));
      met[static_cast<std::size_t>(rank.value())] = true;
      for (std::size_t i = 0; i < at.size(); ++i) {  // an odometer
        if (++at[i] < grid.axes(scope)[i].size) break;
        at[i] = 0;
      }
    }
  }
}

RC_GTEST_PROP(RankGrid, CoordinatesTellRanksApartAndStagesAgree, ()) {
  const Layout l = any_grid();
  const RankGrid grid(l);
  std::vector<std::vector<std::int32_t>> attention, expert;
  for (std::int32_t r = 0; r < grid.ranks(); ++r) {
    const auto at = [&](Dim dim) {
      const std::int32_t value = grid.coordinate(Rank(r), dim);
      RC_ASSERT(0 <= value && value < grid.size(dim));
      return value;
    };
    attention.push_back({at(Dim::tp), at(Dim::cp), at(Dim::dp), at(Dim::pp)});
    expert.push_back({at(Dim::etp), at(Dim::ep), at(Dim::edp), at(Dim::pp)});
    const std::vector<Axis>& axes = grid.axes(Scope::expert);
    const auto pp = std::find_if(axes.begin(), axes.end(), [](const Axis& a) { return a.dim == Dim::pp; });
    RC_ASSERT(r / pp->stride % pp->size == grid.coordinate(Rank(r), Dim::pp));
  }
  for (auto* all : {&attention, &expert}) {
    std::sort(all->begin(), all->end());
    RC_ASSERT(std::adjacent_find(all->begin(), all->end()) == all->end());
  }
}

RC_GTEST_PROP(RankGrid, SizesAreThoseOfTheLayout, ()) {
  const Layout l = any_grid();
  const RankGrid grid(l);
  RC_ASSERT(grid.size(Dim::tp) == l.tp && grid.size(Dim::cp) == l.cp && grid.size(Dim::dp) == l.dp);
  RC_ASSERT(grid.size(Dim::pp) == l.pp && grid.size(Dim::ep) == l.ep && grid.size(Dim::etp) == l.etp);
  RC_ASSERT(grid.size(Dim::edp) == l.edp());
}

RC_GTEST_PROP(RankGrid, GroupsPartitionTheRanks, ()) {
  const RankGrid grid(any_grid());
  const GroupKey key = any_key();
  std::vector<std::int32_t> all;
  for (const std::vector<Rank>& group : grid.groups(key)) {
    RC_ASSERT(static_cast<std::int32_t>(group.size()) == grid.group_size(key));
    for (const Rank rank : group) {
      all.push_back(rank.value());
      RC_ASSERT(grid.group_of(rank, key) == group);
    }
  }
  std::sort(all.begin(), all.end());
  std::vector<std::int32_t> expected(static_cast<std::size_t>(grid.ranks()));
  std::iota(expected.begin(), expected.end(), 0);
  RC_ASSERT(all == expected);
}

RC_GTEST_PROP(RankGrid, MembersDifferOnlyInTheDimensionsOfTheGroup, ()) {
  const RankGrid grid(any_grid());
  const GroupKey key = any_key();
  const std::vector<Dim> dims = key.scope == Scope::attention
                                    ? std::vector{Dim::tp, Dim::cp, Dim::dp, Dim::pp}
                                    : std::vector{Dim::etp, Dim::ep, Dim::edp, Dim::pp};
  const Rank rank(*rc::gen::inRange(0, grid.ranks()));
  std::int32_t size = 1;
  for (const Dim dim : dims) size *= (key.dims & bit(dim)) != 0 ? grid.size(dim) : 1;
  RC_ASSERT(grid.group_size(key) == size);
  for (const Rank other : grid.group_of(rank, key)) {
    for (const Dim dim : dims) {
      if ((key.dims & bit(dim)) == 0) RC_ASSERT(grid.coordinate(rank, dim) == grid.coordinate(other, dim));
    }
  }
}

std::vector<std::int32_t> reach(const std::vector<Axis>& axes) {
  std::vector<std::int32_t> ranks = {0};
  for (const Axis& axis : axes) {
    const std::vector<std::int32_t> base = ranks;
    for (std::int32_t i = 1; i < axis.size; ++i) {
      for (const std::int32_t rank : base) ranks.push_back(rank + i * axis.stride);
    }
  }
  return ranks;
}

// Shard and replica groups together are the ranks that hold the same weights.
RC_GTEST_PROP(RankGrid, ShardTimesReplicaIsTheStateGroup, ()) {
  Layout l = any_grid();
  l.hsdp = l.zero == 0 ? 0 : divisor_of(l.dp);
  if (l.order == AxisOrder::tp_cp_ep_pp_dp) l.hsdp = 0;
  RC_PRE(l.edp() % l.expert_shard() == 0);
  const RankGrid grid(l);
  const std::uint8_t dense = bit(Dim::dp) | bit(Dim::cp);
  for (const GroupKey key : {attention_group(dense), expert_group(bit(Dim::edp))}) {
    const std::vector<Axis> shard = state_shard_group(l, key.scope),
                            replica = state_replica_group(l, key.scope);
    const bool attention = key.scope == Scope::attention;
    const std::int32_t expected = l.zero == 0 ? 1 : attention ? l.cp * l.shard() : l.expert_shard();
    RC_ASSERT(ranks_of(shard) == expected);
    std::vector<Axis> both = shard;
    both.insert(both.end(), replica.begin(), replica.end());
    std::vector<std::int32_t> ranks = reach(both), members;
    for (const Rank rank : grid.group_of(Rank(0), key)) members.push_back(rank.value());
    std::sort(ranks.begin(), ranks.end());
    std::sort(members.begin(), members.end());
    RC_ASSERT(ranks == members);
  }
}

RC_GTEST_PROP(DefaultSplit, SumsToTheLayersAndNoChunkIsEmpty, ()) {
  const std::int32_t layers = *rc::gen::inRange(1, 200), chunks = *rc::gen::inRange(1, layers + 1);
  const std::vector<std::int32_t> split = default_split(layers, chunks);
  RC_ASSERT(static_cast<std::int32_t>(split.size()) == chunks);
  RC_ASSERT(std::accumulate(split.begin(), split.end(), 0) == layers);
  const auto [low, high] = std::minmax_element(split.begin(), split.end());
  RC_ASSERT(*low >= 1 && *high - *low <= 1);
}

}  // namespace
}  // namespace tw
