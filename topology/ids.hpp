// Ids compare and hash and nothing else: arithmetic on ranks lives in costmodel/layout/rank_grid.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace tw {

template <class Tag>
class Id {
 public:
  constexpr Id() = default;
  constexpr explicit Id(std::int32_t value) : value_(value) {}
  constexpr std::int32_t value() const { return value_; }
  friend constexpr auto operator<=>(Id, Id) = default;

 private:
  std::int32_t value_ = 0;
};

using Rank = Id<struct RankTag>;            // a process of the whole job
using LocalRank = Id<struct LocalRankTag>;  // its place within a group or node
using Node = Id<struct NodeTag>;
using Stage = Id<struct StageTag>;
using Microbatch = Id<struct MicrobatchTag>;
using Expert = Id<struct ExpertTag>;
using LayerIndex = Id<struct LayerIndexTag>;

}  // namespace tw

template <class Tag>
struct std::hash<tw::Id<Tag>> {
  std::size_t operator()(tw::Id<Tag> id) const noexcept { return std::hash<std::int32_t>{}(id.value()); }
};
