// Which ranks are played. Ranks that cannot be told apart by what they run and whom they meet have the same
// timeline: one stands for all of them. They are found by refinement: two ranks stay together as long as they
// have the same stage and speed, meet groups of the same make, and have peers that stay together.
#pragma once

#include <vector>

#include "costmodel/sim/groups.hpp"

namespace tw {

// A kind of group among those who are played: who takes part in which.
struct PlayedKind {
  std::vector<std::int32_t> of_player;  // -1: in none
  std::vector<std::int32_t> first;      // of `members`
  std::vector<std::int32_t> members;    // players, rising
  std::vector<std::int32_t> group;      // of SimGroupKind: one of those that are alike
  std::span<const std::int32_t> at(std::int32_t id) const {
    const auto g = static_cast<std::size_t>(id);
    return std::span(members).subspan(static_cast<std::size_t>(first[g]),
                                      static_cast<std::size_t>(first[g + 1] - first[g]));
  }
};

struct Players {
  std::vector<Rank> rank;                       // the first of those that a player stands for
  std::vector<std::int32_t> of_rank;            // player of each rank
  std::vector<std::int32_t> stage, stands_for;  // stands_for: how many ranks
  std::vector<std::vector<std::int32_t>> peer;  // of a player, by stage
  std::vector<PlayedKind> kinds;                // parallel to SimGroups::kinds
  std::size_t size() const { return rank.size(); }
};

// Ranks that share something else, such as the links of a node: whoever stays together has like neighbours.
using Neighbours = std::vector<std::vector<Rank>>;

// colours: by rank, what makes ranks different from the start beyond their stage (a slow one); empty:
// nothing. unfold: every rank plays itself.
Players players_of(const Program& program, const SimGroups& groups, const std::vector<std::int64_t>& colours,
                   const Neighbours& neighbours, bool unfold);

}  // namespace tw
