// Links shared max-min: activities that ask for parts of links get on at rates such that none can go faster
// without one that is slower going slower still. An activity goes at one rate on all its links, at most full.
// Water-filling (Bertsekas and Gallager 1992, section 6.5.2), the level being the part of the capacity that
// an activity takes of the link it asks most of.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "costmodel/sim/clock.hpp"

namespace tw {

struct LinkShare;

class Sharing {
 public:
  explicit Sharing(std::size_t links) : links_(links) {}

  void add(std::int32_t activity, const std::vector<LinkShare>& shares);
  void remove(std::int32_t activity);
  bool dirty() const { return dirty_; }

  // Calls set(activity, rate) for all, in rising order.
  template <class Set>
  void solve(Set&& set) {
    fill();
    for (const auto& [activity, asked] : asked_) set(activity, asked.rate);
    dirty_ = false;
  }

 private:
  struct Asked {
    const std::vector<LinkShare>* shares = nullptr;
    double most = 0;  // of one link
    std::int32_t rate = kFull;
  };
  void fill();

  std::size_t links_;
  std::map<std::int32_t, Asked> asked_;
  bool dirty_ = false;
};

}  // namespace tw
