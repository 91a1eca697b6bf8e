#include "train/device/arena.hpp"

#include <algorithm>
#include <iterator>

#include "topology/check.hpp"

namespace tw::train {
namespace {

std::int64_t rounded(std::int64_t bytes) {
  return (std::max<std::int64_t>(bytes, 1) + Arena::kAlign - 1) / Arena::kAlign * Arena::kAlign;
}

}  // namespace

Arena::Blocks::iterator Arena::smallest(std::int64_t bytes) {
  auto best = free_.end();
  for (auto each = free_.begin(); each != free_.end(); ++each) {
    if (each->second >= bytes && (best == free_.end() || each->second < best->second)) best = each;
  }
  return best;
}

bool Arena::fits(std::int64_t bytes) const {
  const std::int64_t wanted = rounded(bytes);
  return std::any_of(free_.begin(), free_.end(), [&](const auto& each) { return each.second >= wanted; });
}

std::int64_t Arena::take(std::int64_t bytes) {
  const std::int64_t wanted = rounded(bytes);
  auto found = smallest(wanted);
  if (found == free_.end()) {  // the last free block grows, if it lies at the end
    const bool ends = !free_.empty() && free_.rbegin()->first + free_.rbegin()->second == extent_;
    found = ends ? std::prev(free_.end()) : free_.emplace(extent_, 0).first;
    extent_ += wanted - found->second;
    found->second = wanted;
  }
  const auto [first, size] = *found;
  free_.erase(found);
  if (size > wanted) free_.emplace(first + wanted, size - wanted);
  taken_.emplace(first, wanted);
  in_use_ += wanted;
  peak_ = std::max(peak_, in_use_);
  return first;
}

void Arena::give(std::int64_t first) {
  const auto found = taken_.find(first);
  TW_CHECK(found != taken_.end());
  const std::int64_t size = found->second;
  taken_.erase(found);
  in_use_ -= size;
  auto here = free_.emplace(first, size).first;
  if (const auto next = std::next(here); next != free_.end() && here->first + here->second == next->first) {
    here->second += next->second;
    free_.erase(next);
  }
  if (here == free_.begin()) return;
  if (const auto before = std::prev(here); before->first + before->second == here->first) {
    before->second += here->second;
    free_.erase(here);
  }
}

}  // namespace tw::train
