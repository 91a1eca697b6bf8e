#include "planner/search.hpp"

#include <algorithm>
#include <chrono>

namespace tw {
namespace {

constexpr std::size_t kNearMisses = 3;

// The `most` smallest by a key, in order; equal keys in order of arrival. One allocation per entry
// that is kept, none for the others.
template <class Entry>
class Smallest {
 public:
  explicit Smallest(std::size_t most) : most_(most) {}

  template <class Key>
  bool wants(Key key) const { return kept_.size() < most_ || key < kept_.back().first; }
  void add(double key, Entry entry) {
    const auto at = std::upper_bound(kept_.begin(), kept_.end(), key,
                                     [](double k, const auto& each) { return k < each.first; });
    kept_.emplace(at, key, std::move(entry));
    if (kept_.size() > most_) kept_.pop_back();
  }
  std::vector<Entry> take() {
    std::vector<Entry> out;
    for (auto& [key, entry] : kept_) out.push_back(std::move(entry));
    return out;
  }

 private:
  std::size_t most_;
  std::vector<std::pair<double, Entry>> kept_;
};

class Search {
 public:
  Search(const Problem& problem, const SearchSpace& space, std::size_t top)
      : problem_(problem), space_(space), evaluator_(problem.job, problem.machine, problem.inputs.settings),
        limit_(evaluator_.context().limit.count), best_(top), misses_(kNearMisses) {}

  SearchResult run(const ProgressReport& report) {
    const auto start = std::chrono::steady_clock::now();
    // A first walk only counts: it costs a hundredth of pricing and gives progress its end.
    if (report) total_ = for_each_layout(space_, problem_.job, [](const Layout&, Link) {}).legal;
    SearchResult out;
    out.searched.legal = for_each_layout(space_, problem_.job, [&](const Layout& layout, Link) {
      if (report && (++seen_ & 1023) == 0) report(static_cast<double>(seen_) / static_cast<double>(total_));
      look_at(layout);
    }).legal;
    out.searched.evaluated = evaluated_;
    out.searched.refused_by_memory = out.searched.legal - evaluated_;
    out.searched.proven = true;
    out.best = best_.take();
    out.near_misses = misses_.take();
    for (NearMiss& miss : out.near_misses) miss.cost = evaluator_.cost(miss.layout);
    out.searched.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return out;
  }

 private:
  void look_at(const Layout& layout) {
    const std::int64_t over = evaluator_.memory(layout).total() - limit_;
    if (over > 0) {
      const auto key = static_cast<double>(over);
      if (misses_.wants(key)) misses_.add(key, {layout, {}});
      return;
    }
    ++evaluated_;
    const Cost cost = evaluator_.cost(layout);
    if (best_.wants(cost.step_seconds)) best_.add(cost.step_seconds, {layout, cost});
  }

  const Problem& problem_;
  const SearchSpace& space_;
  Evaluator evaluator_;
  std::int64_t limit_;
  Smallest<RankedLayout> best_;
  Smallest<NearMiss> misses_;
  std::int64_t evaluated_ = 0, seen_ = 0, total_ = 0;
};

}  // namespace

SearchResult search(const Problem& problem, const SearchSpace& space, std::size_t top, const ProgressReport& report) {
  return Search(problem, space, top).run(report);
}

}  // namespace tw
