#include "costmodel/layout/rank_grid.hpp"

#include <utility>

#include "topology/check.hpp"

namespace tw {
namespace {

bool contains(GroupKey key, Dim dim) {
  return (key.dims & bit(dim)) != 0;
}

Scope scope_of(Dim dim) {
  return dim == Dim::etp || dim == Dim::ep || dim == Dim::edp ? Scope::expert : Scope::attention;
}

// Strides of axes laid innermost first.
std::vector<Axis> laid(std::vector<Axis> axes) {
  std::int32_t stride = 1;
  for (Axis& axis : axes) {
    axis.stride = stride;
    stride *= axis.size;
  }
  return axes;
}

std::vector<Axis> attention_axes(const Layout& l) {
  std::vector<Axis> axes = {{Dim::tp, l.tp, 1}, {Dim::cp, l.cp, 1}, {Dim::dp, l.dp, 1}, {Dim::pp, l.pp, 1}};
  if (l.order == AxisOrder::tp_cp_ep_pp_dp) std::swap(axes[2], axes[3]);
  return laid(std::move(axes));
}

std::vector<Axis> expert_axes(const Layout& l) {
  if (l.order == AxisOrder::tp_cp_ep_dp_pp) {
    return laid({{Dim::etp, l.etp, 1}, {Dim::ep, l.ep, 1}, {Dim::edp, l.edp(), 1}, {Dim::pp, l.pp, 1}});
  }
  TW_CHECK(l.tp * l.cp % (l.ep * l.etp) == 0);
  const std::int32_t inside = l.tp * l.cp / (l.ep * l.etp);
  return laid({{Dim::etp, l.etp, 1},
               {Dim::ep, l.ep, 1},
               {Dim::edp, inside, 1},
               {Dim::pp, l.pp, 1},
               {Dim::edp, l.dp, 1}});
}

// Drops axes of size 1 and joins those that go on where the last one ends.
std::vector<Axis> merged(const std::vector<Axis>& axes) {
  std::vector<Axis> out;
  for (const Axis& axis : axes) {
    if (axis.size == 1) continue;
    if (!out.empty() && out.back().stride * out.back().size == axis.stride) {
      out.back().size *= axis.size;
    } else {
      out.push_back(axis);
    }
  }
  return out;
}

std::int32_t coordinate_on(Rank rank, const Axis& axis) {
  return rank.value() / axis.stride % axis.size;
}

// All ranks from `first` along the axes, the innermost fastest.
std::vector<Rank> walk(Rank first, const std::vector<Axis>& axes) {
  std::vector<Rank> ranks = {first};
  for (const Axis& axis : axes) {
    const std::size_t inner = ranks.size();
    for (std::int32_t step = 1; step < axis.size; ++step) {
      for (std::size_t i = 0; i < inner; ++i) ranks.push_back(Rank(ranks[i].value() + step * axis.stride));
    }
  }
  return ranks;
}

struct SplitAxes {
  std::vector<Axis> inner, outer;
};

// Cuts axes after the first `ranks` of them; an axis may be cut in two.
SplitAxes split_after(const std::vector<Axis>& axes, std::int32_t ranks) {
  SplitAxes out;
  std::int32_t left = ranks;
  for (const Axis& axis : axes) {
    const std::int32_t inner = left < axis.size ? left : axis.size;
    TW_CHECK(axis.size % inner == 0 && left % inner == 0);
    out.inner.push_back({axis.dim, inner, axis.stride});
    out.outer.push_back({axis.dim, axis.size / inner, axis.stride * inner});
    left /= inner;
  }
  TW_CHECK(left == 1);
  return {merged(out.inner), merged(out.outer)};
}

// The axes over which weights of a scope are the same, in rank order of what shards them: cp first.
SplitAxes state_groups(const Layout& layout, Scope scope) {
  const RankGrid grid(layout);
  std::vector<Axis> axes;
  for (const Axis& axis : grid.axes(scope)) {
    if (axis.dim == Dim::cp || axis.dim == Dim::dp || axis.dim == Dim::edp) axes.push_back(axis);
  }
  if (layout.zero == 0) return split_after(axes, 1);
  return split_after(axes, scope == Scope::attention ? layout.cp * layout.shard() : layout.expert_shard());
}

}  // namespace

RankGrid::RankGrid(const Layout& layout)
    : ranks_(layout.gpus()), axes_{attention_axes(layout), expert_axes(layout)} {
  for (const std::vector<Axis>& axes : axes_) TW_CHECK(ranks_of(axes) == ranks_);
}

std::int32_t RankGrid::size(Dim dim) const {
  std::int32_t size = 1;
  for (const Axis& axis : axes(scope_of(dim))) size *= axis.dim == dim ? axis.size : 1;
  return size;
}

std::int32_t RankGrid::coordinate(Rank rank, Dim dim) const {
  std::int32_t value = 0, weight = 1;
  for (const Axis& axis : axes(scope_of(dim))) {
    if (axis.dim != dim) continue;
    value += weight * coordinate_on(rank, axis);
    weight *= axis.size;
  }
  return value;
}

std::vector<Rank> RankGrid::first(std::int32_t most) const {
  std::vector<Rank> out;
  for (std::int32_t i = 0; i < std::min(most, ranks_); ++i) out.push_back(Rank(i));
  return out;
}

Node node_of(Rank rank, std::int32_t gpus_per_node) {
  return Node(rank.value() / gpus_per_node);
}

LocalRank place_in_node(Rank rank, std::int32_t gpus_per_node) {
  return LocalRank(rank.value() % gpus_per_node);
}

Rank RankGrid::rank_at(Scope scope, const std::vector<std::int32_t>& coordinates) const {
  const std::vector<Axis>& all = axes(scope);
  TW_CHECK(coordinates.size() == all.size());
  std::int32_t rank = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    TW_CHECK(0 <= coordinates[i] && coordinates[i] < all[i].size);
    rank += coordinates[i] * all[i].stride;
  }
  return Rank(rank);
}

std::vector<Axis> RankGrid::group_axes(GroupKey key) const {
  std::vector<Axis> kept;
  for (const Axis& axis : axes(key.scope)) {
    if (contains(key, axis.dim)) kept.push_back(axis);
  }
  return merged(kept);
}

std::int32_t RankGrid::group_size(GroupKey key) const {
  return ranks_of(group_axes(key));
}

std::vector<Rank> RankGrid::group_of(Rank rank, GroupKey key) const {
  const std::vector<Axis> kept = group_axes(key);
  std::int32_t first = rank.value();
  for (const Axis& axis : kept) first -= coordinate_on(rank, axis) * axis.stride;
  return walk(Rank(first), kept);
}

std::vector<std::vector<Rank>> RankGrid::groups(GroupKey key) const {
  std::vector<Axis> rest;
  for (const Axis& axis : axes(key.scope)) {
    if (!contains(key, axis.dim)) rest.push_back(axis);
  }
  const std::vector<Axis> kept = group_axes(key);
  std::vector<std::vector<Rank>> out;
  for (const Rank first : walk(Rank(0), rest)) out.push_back(walk(first, kept));
  return out;
}

std::vector<Axis> state_shard_group(const Layout& layout, Scope scope) {
  return state_groups(layout, scope).inner;
}

std::vector<Axis> state_replica_group(const Layout& layout, Scope scope) {
  return state_groups(layout, scope).outer;
}

std::int32_t ranks_of(const std::vector<Axis>& axes) {
  std::int32_t ranks = 1;
  for (const Axis& axis : axes) ranks *= axis.size;
  return ranks;
}

}  // namespace tw
