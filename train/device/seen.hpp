// Which keys of a block the queries of another see, by their positions alone: with sequences cut in
// contiguous pieces or in zigzag halves it is a rectangle, or the triangle of a rank's own block.
#pragma once

#include <cstdint>
#include <span>

namespace tw::train {

// Of each sequence: queries [first, first + count) see the first `keys` keys, each of them all of these,
// or causally, where both begin at one position. Nothing is seen: count 0.
struct Seen {
  std::int64_t first = 0, count = 0, keys = 0;
  bool causal = false;
  friend bool operator==(const Seen&, const Seen&) = default;
};

// Positions of one sequence's queries and keys, ascending. A check fails where it is neither.
Seen seen(std::span<const std::int32_t> queries, std::span<const std::int32_t> keys);

}  // namespace tw::train
