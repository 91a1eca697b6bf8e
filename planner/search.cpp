#include "planner/search.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "planner/near_miss.hpp"
#include "planner/smallest.hpp"

namespace tw {
namespace {

constexpr double kLittleOver = 0.1;  // of the limit: layouts worth a look although they do not fit
constexpr std::size_t kNearMisses = 3;

// In words where the fixed keys alone break a rule, else by the rules that refused most.
std::string why_nothing_is_legal(const SearchSpace& space, const Job& job, const Enumerated& counts) {
  Layout sample = space.fixed.value;
  const std::int64_t others = std::int64_t{sample.tp} * sample.pp * sample.cp;
  if (!space.fixed.has(LayoutKey::dp))
    sample.dp = static_cast<std::int32_t>(std::max<std::int64_t>(1, job.gpus / others));
  if (const std::string why = illegal_because(sample, job); space.fixed.given != 0 && !why.empty())
    return why;
  std::vector<std::pair<std::int64_t, std::string_view>> rules;
  for (int i = 0; i < kRules; ++i) {
    if (counts.refused[static_cast<std::size_t>(i)] > 0)
      rules.emplace_back(-counts.refused[static_cast<std::size_t>(i)], rule_name(i));
  }
  std::sort(rules.begin(), rules.end());
  std::string out = "rules broken most often:";
  for (std::size_t i = 0; i < std::min<std::size_t>(rules.size(), 3); ++i)
    out += (i == 0 ? " " : ", ") + std::string(rules[i].second);
  return rules.empty() ? "no sizes multiply to the GPUs" : out;
}

// A walk keeps a pass while it visits all that hangs on it, so few need to be remembered: those of one piece.
EvaluatorSettings with_small_cache(EvaluatorSettings settings) {
  settings.most_passes = 64;
  return settings;
}

class Search {
 public:
  Search(const Problem& problem, const SearchSpace& space, const Wanted& wanted,
         std::shared_ptr<PassStore> passes)
      : problem_(problem),
        space_(space),
        quick_(wanted.quick),
        walk_(space_, problem.job),
        evaluator_(problem.job, problem.machine, with_small_cache(problem.inputs.settings), std::move(passes)),
        limit_(evaluator_.context().limit.count),
        best_(wanted.top),
        nearest_(kNearMisses),
        fast_misses_(kNearMisses) {}

  bool done() const { return next_ == walk_.pieces().size(); }
  const LayoutWalk::Piece& next() const { return walk_.pieces()[next_]; }
  std::size_t pieces() const { return walk_.pieces().size(); }
  void step() {
    const auto visit = [&](const Layout& layout, Link) { look_at(layout); };
    walk_.visit(next(), visit);
    ++next_;
  }

  SearchResult result(double seconds) {
    SearchResult out;
    const Enumerated& counts = walk_.counts();
    out.searched.legal = counts.legal;
    if (counts.legal == 0) out.nothing_legal = why_nothing_is_legal(space_, problem_.job, counts);
    out.searched.evaluated = evaluated_;
    out.searched.pruned_by_bound = pruned_;
    out.searched.refused_by_memory = out.searched.legal - evaluated_ - pruned_;
    out.searched.proven = true;
    out.best = best_.take();
    out.near_misses = near_misses(out.best);
    out.searched.seconds = seconds;
    return out;
  }

 private:
  // Ties in time go to less memory: what is free is worth something.
  using Key = std::pair<double, std::int64_t>;

  void look_at(const Layout& layout) {
    const Key* bound = quick_ ? best_.bound() : nullptr;
    const Cost cost = bound ? evaluator_.cost_if_fits(layout, bound->first) : evaluator_.cost_if_fits(layout);
    const std::int64_t peak = cost.memory.total();
    if (!cost.fits) return refuse(layout, peak - limit_);
    if (std::isinf(cost.step_seconds)) {
      ++pruned_;
      return;
    }
    ++evaluated_;
    const Key key{cost.step_seconds, peak};
    if (best_.wants(key)) best_.add(key, {layout, cost});
  }

  void refuse(const Layout& layout, std::int64_t over) {
    if (nearest_.wants(over)) nearest_.add(over, layout);
    if (quick_ || static_cast<double>(over) > kLittleOver * static_cast<double>(limit_)) return;
    const Key key{evaluator_.cost(layout).step_seconds, over};
    if (fast_misses_.wants(key)) fast_misses_.add(key, layout);
  }

  // Where something fits: those little over that would have won. Else: the nearest.
  std::vector<NearMiss> near_misses(const std::vector<RankedLayout>& best) {
    std::vector<NearMiss> out;
    for (const Layout& layout : best.empty() ? nearest_.take() : fast_misses_.take()) {
      NearMiss miss = explain_miss(evaluator_, space_, layout);
      if (best.empty() || miss.cost.step_seconds < best.front().cost.step_seconds)
        out.push_back(std::move(miss));
    }
    return out;
  }

  const Problem& problem_;
  const SearchSpace space_;
  bool quick_;
  LayoutWalk walk_;
  std::size_t next_ = 0;  // piece
  Evaluator evaluator_;
  std::int64_t limit_;
  Smallest<Key, RankedLayout> best_;
  Smallest<std::int64_t, Layout> nearest_;
  Smallest<Key, Layout> fast_misses_;
  std::int64_t evaluated_ = 0, pruned_ = 0;
};

}  // namespace

SearchResult search(const Problem& problem, const SearchSpace& space, const Wanted& wanted,
                    const ProgressReport& report) {
  return std::move(search_together({{&problem, space}}, wanted, report).front());
}

// Pieces of one place go one after another: what the first computes, the others find.
std::vector<SearchResult> search_together(const std::vector<SearchTask>& tasks, const Wanted& wanted,
                                          const ProgressReport& report) {
  const auto start = std::chrono::steady_clock::now();
  const std::shared_ptr<PassStore> passes = pass_store();
  std::vector<std::unique_ptr<Search>> searches;
  std::size_t all = 0, done = 0;
  for (const SearchTask& task : tasks) {
    searches.push_back(std::make_unique<Search>(*task.problem, task.space, wanted, passes));
    all += searches.back()->pieces();
  }
  for (; done < all; ++done) {
    Search* first = nullptr;
    for (const std::unique_ptr<Search>& each : searches) {
      if (!each->done() && (first == nullptr || each->next().place < first->next().place)) first = each.get();
    }
    first->step();
    if (report) report(static_cast<double>(done) / static_cast<double>(all));
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::vector<SearchResult> out;
  for (const std::unique_ptr<Search>& each : searches) out.push_back(each->result(seconds));
  return out;
}

}  // namespace tw
