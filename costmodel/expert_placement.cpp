#include "costmodel/expert_placement.hpp"

#include <algorithm>
#include <numeric>

#include "topology/check.hpp"

namespace tw {

std::vector<ExpertCopy> replicated(const PlacementAsk& ask) {
  std::vector<std::int32_t> copies(ask.load.size(), 1);
  for (auto free =
           static_cast<std::size_t>(ask.ranks) * static_cast<std::size_t>(ask.slots) - ask.load.size();
       free > 0; --free) {
    std::size_t most = 0;
    const auto each = [&](std::size_t e) { return copies[e] < ask.ranks ? ask.load[e] / copies[e] : -1; };
    for (std::size_t e = 1; e < copies.size(); ++e)
      if (each(e) > each(most)) most = e;
    ++copies[most];
  }
  std::vector<ExpertCopy> out;
  for (std::size_t e = 0; e < copies.size(); ++e)
    out.insert(out.end(), static_cast<std::size_t>(copies[e]),
               {static_cast<std::int32_t>(e), ask.load[e] / copies[e]});
  std::stable_sort(out.begin(), out.end(),
                   [](const ExpertCopy& a, const ExpertCopy& b) { return a.load > b.load; });
  return out;
}

std::vector<std::vector<std::size_t>> packed(const std::vector<ExpertCopy>& copies, std::int32_t bins,
                                             std::int32_t room) {
  TW_CHECK(copies.size() <= static_cast<std::size_t>(bins) * static_cast<std::size_t>(room));
  std::vector<std::vector<std::size_t>> out(static_cast<std::size_t>(bins));
  std::vector<double> load(out.size(), 0);
  for (std::size_t i = 0; i < copies.size(); ++i) {
    const auto has = [&](std::size_t bin) {
      return std::any_of(out[bin].begin(), out[bin].end(),
                         [&](std::size_t other) { return copies[other].expert == copies[i].expert; });
    };
    std::size_t best = out.size();
    bool best_has = true;
    for (std::size_t bin = 0; bin < out.size(); ++bin) {
      if (out[bin].size() == static_cast<std::size_t>(room)) continue;
      const bool holds = has(bin);
      if (best < out.size() && (holds > best_has || (holds == best_has && load[bin] >= load[best]))) continue;
      best = bin, best_has = holds;
    }
    out[best].push_back(i), load[best] += copies[i].load;
  }
  return out;
}

}  // namespace tw
