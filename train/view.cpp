#include "train/view.hpp"

#include <algorithm>

#include "topology/check.hpp"

namespace tw::train {

View::View(const Program& program, Rank rank)
    : program_(program), rank_(rank), stage_(program.stage_of(rank)) {
  for (const Scope scope : {Scope::attention, Scope::expert})
    cut_[static_cast<std::size_t>(scope)] = program.cut_group(rank, scope);
  cut_index_ = index_in(cut_[0]);
  for (std::int32_t i = 0; i < program.grid().ranks(); ++i) world_.push_back(Rank(i));
  Tags tags = tags_of(rank);
  positions_ = std::move(tags.positions), sequences_ = std::move(tags.sequences);
}

std::size_t View::index_in(Group group) const {
  const auto found = std::find(group.begin(), group.end(), rank_);
  TW_CHECK(found != group.end());
  return static_cast<std::size_t>(found - group.begin());
}

Group View::group(GroupKey key) const {
  const auto [found, made] = groups_.try_emplace({static_cast<int>(key.scope), key.dims});
  if (made) found->second = program_.group(rank_, key);
  return found->second;
}

View::Tags View::tags_of(Rank rank) const {
  Tags out;
  for (const RowTag& tag : program_.tags(rank))
    out.positions.push_back(tag.position), out.sequences.push_back(tag.sequence);
  return out;
}

std::span<const std::int32_t> View::part(const std::vector<std::int32_t>& whole, std::int64_t rows) const {
  const std::span<const std::int32_t> all = whole;
  const auto count = static_cast<std::size_t>(rows);
  if (count == all.size()) return all;
  TW_CHECK(count * cut_[0].size() == all.size());
  return all.subspan(cut_index_ * count, count);
}

std::vector<std::int32_t> View::tokens(const Data& data, std::int64_t step, std::int32_t microbatch,
                                       std::int32_t ahead) const {
  const std::int64_t first = step * global_batch() + program_.first_sequence(rank_, microbatch);
  std::vector<std::int32_t> out;
  for (std::size_t i = 0; i < positions_.size(); ++i)
    out.push_back(data.token(first + sequences_[i], positions_[i] + ahead));
  return out;
}

}  // namespace tw::train
