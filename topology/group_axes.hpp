// Groups of ranks as mixed-radix axes: how the axes lie on blocks of ranks (nodes, pods), and which
// axes span a list of ranks. Private to topology/fabric.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "topology/fabric.hpp"

namespace tw {

// Ranks of a group in one block of `block` ranks, and blocks it touches, the same for every
// translate; nothing where a block boundary cuts an axis unevenly.
struct BlockShape {
  std::int64_t inside = 1;
  std::int64_t blocks = 1;
};
std::optional<BlockShape> shape_on_blocks(std::span<const GroupAxis> axes, std::int64_t block);

// Aborts unless the axes are ordered and nested and their translates partition `ranks`.
void check_axes(std::span<const GroupAxis> axes, std::int32_t ranks);

// Members of every translate, group after group.
std::vector<Rank> members_of_all(std::span<const GroupAxis> axes, std::int32_t ranks);

// The axes of these groups, when all are translates of one mixed-radix set and cover `ranks`.
std::optional<std::vector<GroupAxis>> axes_of(std::span<const std::vector<Rank>> groups, std::int32_t ranks);

}  // namespace tw
