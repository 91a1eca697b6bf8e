// Rank <-> coordinates and every process group, per scope: mixed radix over an explicit axis order.
// Attention: tp x cp x dp x pp. Experts: etp x ep x edp x pp over the same ranks (parallel folding,
// Liu et al. 2025, arXiv 2504.14960). The only file that does arithmetic on a rank.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "costmodel/layout/layout.hpp"
#include "topology/ids.hpp"

namespace tw {

enum class Scope : std::uint8_t { attention, expert };
// Dimensions of both scopes; pp is the same ranks in both.
enum class Dim : std::uint8_t { tp, cp, dp, pp, etp, ep, edp };

// A set of dimensions of one scope, e.g. {attention, dp|cp}: ranks that differ only in these.
struct GroupKey {
  Scope scope = Scope::attention;
  std::uint8_t dims = 0;  // bit mask of 1 << Dim
  friend bool operator==(const GroupKey&, const GroupKey&) = default;
};
constexpr std::uint8_t bit(Dim dim) {
  return static_cast<std::uint8_t>(1u << static_cast<int>(dim));
}
constexpr GroupKey attention_group(std::uint8_t dims) {
  return {Scope::attention, dims};
}
constexpr GroupKey expert_group(std::uint8_t dims) {
  return {Scope::expert, dims};
}

struct Axis {
  Dim dim;
  std::int32_t size;
  std::int32_t stride;  // ranks between neighbours along the axis
};

class RankGrid {
 public:
  explicit RankGrid(const Layout& layout);

  std::int32_t ranks() const { return ranks_; }
  // Innermost first. With pp inside dp (order tp-cp-ep-pp-dp) edp stands twice: inside pp and outside.
  const std::vector<Axis>& axes(Scope scope) const { return axes_[static_cast<std::size_t>(scope)]; }
  std::int32_t size(Dim dim) const;
  std::int32_t coordinate(Rank rank, Dim dim) const;
  // The first `most` ranks, in order.
  std::vector<Rank> first(std::int32_t most) const;
  // The rank at these coordinates (one per axis of the scope, innermost first).
  Rank rank_at(Scope scope, const std::vector<std::int32_t>& coordinates) const;

  std::int32_t group_size(GroupKey key) const;
  // Members of the group that holds `rank`, in increasing order of coordinates.
  std::vector<Rank> group_of(Rank rank, GroupKey key) const;
  // All groups: they partition the ranks.
  std::vector<std::vector<Rank>> groups(GroupKey key) const;
  // The shape of a group, innermost first: axes of size 1 dropped, neighbours merged where one
  // stride goes on in the other. Empty: a group of one.
  std::vector<Axis> group_axes(GroupKey key) const;

 private:
  std::int32_t ranks_ = 1;
  std::array<std::vector<Axis>, 2> axes_;
};

// Ranks fill nodes in order.
Node node_of(Rank rank, std::int32_t gpus_per_node);
LocalRank place_in_node(Rank rank, std::int32_t gpus_per_node);

// ZeRO splits the ranks that hold the same weights (attention: dp x cp, experts: edp) into shard
// groups, over which states are cut, and replica groups, over which gradients are then all-reduced.
// Shard is the inner part: cp x hsdp of dp, or expert_shard() of edp. zero 0: all is replica.
std::vector<Axis> state_shard_group(const Layout& layout, Scope scope);
std::vector<Axis> state_replica_group(const Layout& layout, Scope scope);
std::int32_t ranks_of(const std::vector<Axis>& axes);

}  // namespace tw
