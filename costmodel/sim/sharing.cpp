#include "costmodel/sim/sharing.hpp"

#include <algorithm>
#include <limits>

#include "costmodel/sim/run.hpp"

namespace tw {

void Sharing::add(std::int32_t activity, const std::vector<LinkShare>& shares) {
  Asked asked{&shares, 0, kFull};
  for (const LinkShare& each : shares) asked.most = std::max(asked.most, each.share);
  asked_[activity] = asked;
  dirty_ = true;
}

void Sharing::remove(std::int32_t activity) {
  dirty_ = asked_.erase(activity) > 0 || dirty_;
}

// Raises the level of all that are not held yet until a link is full or an activity at full rate; holds
// those; goes on with the rest.
void Sharing::fill() {
  struct Link {
    double left = 1;   // of the capacity, beside those that are held
    double slope = 0;  // of what is taken, over the level
  };
  std::vector<Link> links(links_);
  std::vector<Asked*> open;
  for (auto& [activity, asked] : asked_) {
    asked.rate = kFull;
    if (asked.most <= 0) continue;
    open.push_back(&asked);
    for (const LinkShare& each : *asked.shares)
      links[static_cast<std::size_t>(each.link)].slope += each.share / asked.most;
  }
  const auto hold = [&](Asked& asked, double rate) {
    asked.rate = std::max(1, static_cast<std::int32_t>(std::llround(rate * kFull)));
    for (const LinkShare& each : *asked.shares) {
      Link& link = links[static_cast<std::size_t>(each.link)];
      link.left -= rate * each.share, link.slope -= each.share / asked.most;
    }
  };
  constexpr double kSmall = 1e-9;
  while (!open.empty()) {
    double level = std::numeric_limits<double>::infinity();
    for (const Link& link : links) {
      if (link.slope > kSmall) level = std::min(level, std::max(link.left, 0.0) / link.slope);
    }
    for (const Asked* asked : open) level = std::min(level, asked->most);
    std::vector<Asked*> rest, held;
    for (Asked* asked : open) {
      const bool full = asked->most <= level * (1 + kSmall);
      const bool stuck =
          std::any_of(asked->shares->begin(), asked->shares->end(), [&](const LinkShare& each) {
            const Link& link = links[static_cast<std::size_t>(each.link)];
            return link.slope > kSmall && link.left / link.slope <= level * (1 + kSmall);
          });
      (full || stuck ? held : rest).push_back(asked);
    }
    for (Asked* asked : held) hold(*asked, std::min(1.0, level / asked->most));
    if (held.empty()) break;
    open.swap(rest);
  }
}

}  // namespace tw
