#include "topology/group_axes.hpp"

#include "topology/check.hpp"

namespace tw {

// derived: translates are aligned to the extent of their inner axes, so axes whose extent divides the
// block stay inside one; steps of a block or more always end in another. An axis across the boundary
// splits in two where the boundary is a multiple of its stride and divides its extent.
std::optional<BlockShape> shape_on_blocks(std::span<const GroupAxis> axes, std::int64_t block) {
  BlockShape shape;
  for (const auto [size, stride] : axes) {
    const std::int64_t extent = std::int64_t{size} * stride;
    if (size == 1) continue;
    if (block % extent == 0) {
      shape.inside *= size;
    } else if (stride >= block) {
      shape.blocks *= size;
    } else if (block % stride == 0 && extent % block == 0) {
      shape.inside *= block / stride;
      shape.blocks *= extent / block;
    } else {
      return std::nullopt;
    }
  }
  return shape;
}

void check_axes(std::span<const GroupAxis> axes, std::int32_t ranks) {
  std::int64_t extent = 1;
  for (const auto [size, stride] : axes) {
    TW_CHECK(size > 0 && stride > 0);
    if (size == 1) continue;
    TW_CHECK(stride % extent == 0);
    extent = std::int64_t{size} * stride;
    TW_CHECK(extent <= ranks);
  }
  TW_CHECK(ranks % extent == 0);
}

std::vector<Rank> members_of_all(std::span<const GroupAxis> axes, std::int32_t ranks) {
  std::vector<std::int32_t> offsets = {0};
  for (const auto [size, stride] : axes) {
    const std::size_t inner = offsets.size();
    for (std::int32_t i = 1; i < size; ++i) {
      for (std::size_t k = 0; k < inner; ++k) offsets.push_back(offsets[k] + i * stride);
    }
  }
  // The lowest rank that no group holds yet is the base of the next one.
  std::vector<bool> taken(static_cast<std::size_t>(ranks), false);
  std::vector<Rank> members;
  members.reserve(static_cast<std::size_t>(ranks));
  for (std::int32_t base = 0; base < ranks; ++base) {
    if (taken[static_cast<std::size_t>(base)]) continue;
    for (const std::int32_t offset : offsets) {
      taken[static_cast<std::size_t>(base + offset)] = true;
      members.emplace_back(base + offset);
    }
  }
  return members;
}

namespace {

std::int32_t offset_of(const std::vector<Rank>& group, std::size_t i) {
  return group[i].value() - group.front().value();
}

// Reads the axes off the offsets of one group; they may not describe it, see is_spanned.
std::vector<GroupAxis> likely_axes(const std::vector<Rank>& group) {
  std::vector<GroupAxis> axes;
  for (std::size_t inner = 1; inner < group.size();) {
    const std::int32_t stride = offset_of(group, inner);
    std::size_t size = 1;
    while (size * inner < group.size() &&
           offset_of(group, size * inner) == static_cast<std::int64_t>(size) * stride) {
      ++size;
    }
    if (size < 2) return {};
    axes.push_back({static_cast<std::int32_t>(size), stride});
    inner *= size;
  }
  return axes;
}

bool is_nested(std::span<const GroupAxis> axes, std::int32_t ranks) {
  std::int64_t extent = 1;
  for (const auto [size, stride] : axes) {
    if (stride <= 0 || stride % extent != 0) return false;
    extent = std::int64_t{size} * stride;
  }
  return ranks % extent == 0;
}

bool is_spanned(const std::vector<Rank>& group, std::span<const GroupAxis> axes) {
  std::size_t inner = 1;
  for (const auto [size, stride] : axes) {
    for (std::size_t k = inner; k < inner * static_cast<std::size_t>(size) && k < group.size(); ++k) {
      if (offset_of(group, k) != offset_of(group, k - inner) + stride) return false;
    }
    inner *= static_cast<std::size_t>(size);
  }
  return inner == group.size();
}

bool is_translate(const std::vector<Rank>& group, const std::vector<Rank>& first) {
  if (group.size() != first.size()) return false;
  const std::int32_t shift = group.front().value() - first.front().value();
  bool same = true;
  for (std::size_t i = 0; i < group.size(); ++i) same &= group[i].value() - first[i].value() == shift;
  return same;
}

}  // namespace

// Disjoint translates of a set that cover an interval are the only such tiling (the lowest rank not
// yet covered is the lowest of its group), so their bases need no look.
std::optional<std::vector<GroupAxis>> axes_of(std::span<const std::vector<Rank>> groups, std::int32_t ranks) {
  if (groups.empty() || groups[0].empty()) return std::nullopt;
  if (groups.size() * groups[0].size() != static_cast<std::size_t>(ranks)) return std::nullopt;
  std::vector<GroupAxis> axes = likely_axes(groups[0]);
  if (!is_nested(axes, ranks) || !is_spanned(groups[0], axes)) return std::nullopt;
  for (const std::vector<Rank>& group : groups) {
    if (!is_translate(group, groups[0])) return std::nullopt;
  }
  return axes;
}

}  // namespace tw
