// The few smallest of a long stream by a key, in order; equal keys in order of arrival. Nothing is
// allocated for what is not kept.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

namespace tw {

template <class Key, class Entry>
class Smallest {
 public:
  explicit Smallest(std::size_t most) : most_(most) {}

  bool wants(const Key& key) const { return most_ > 0 && (kept_.size() < most_ || key < kept_.back().first); }
  // The largest that is kept, once as many are: nothing above it is wanted. Else nullptr.
  const Key* bound() const { return most_ > 0 && kept_.size() == most_ ? &kept_.back().first : nullptr; }
  // Only what it wants.
  void add(const Key& key, Entry entry) {
    const auto at = std::upper_bound(kept_.begin(), kept_.end(), key,
                                     [](const Key& k, const auto& each) { return k < each.first; });
    kept_.emplace(at, key, std::move(entry));
    if (kept_.size() > most_) kept_.pop_back();
  }
  std::vector<Entry> take() {
    std::vector<Entry> out;
    for (auto& [key, entry] : kept_) out.push_back(std::move(entry));
    kept_.clear();
    return out;
  }

 private:
  std::size_t most_;
  std::vector<std::pair<Key, Entry>> kept_;
};

}  // namespace tw
