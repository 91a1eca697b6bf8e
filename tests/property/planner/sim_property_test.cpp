// The simulator against the closed form on random feasible layouts, and folded against unfolded.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "planner/enumerate.hpp"
#include "planner/space.hpp"
#include "tests/support/peeled.hpp"

namespace tw {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr std::size_t kLayouts = 4, kFolded = 6;
#else
constexpr std::size_t kLayouts = 350, kFolded = 70;
#endif

struct Case {
  const char *model, *cluster;
  std::int64_t batch;
  const char* framework;
};
constexpr Case kCases[] = {{"llama-3.1-8b", "h100-sxm:16", 64, "megatron"},
                           {"llama-3.1-70b", "h100-sxm:64", 128, "megatron"},
                           {"mixtral-8x7b", "h100-sxm:32", 64, "megatron"},
                           {"qwen3-30b-a3b", "h200-sxm:32", 64, "torchtitan"},
                           {"deepseek-v2-lite", "a100-80g-sxm:32", 64, "megatron"},
                           {"deepseek-v3", "h800:512", 1024, "deepseek-v3"}};

// Layouts that fit, at random, with few enough micro-batches to be played in milliseconds.
std::vector<Layout> some_layouts(const Problem& problem, Evaluator& evaluator, std::size_t count,
                                 std::int64_t most_microbatches) {
  std::vector<Layout> all, out;
  std::mt19937_64 random(7);
  std::size_t seen = 0;
  const std::size_t kept = 40 * count;
  for_each_layout(space_of(problem, ""), problem.job, [&](const Layout& layout, Link) {
    if (microbatches(layout, problem.job) > most_microbatches) return;
    const std::size_t at = seen++ < kept ? all.size() : random() % seen;
    if (at == all.size() && all.size() < kept)
      all.push_back(layout);
    else if (at < all.size())
      all[at] = layout;
  });
  std::shuffle(all.begin(), all.end(), random);
  for (const Layout& layout : all) {
    if (out.size() == count) break;
    if (evaluator.cost_if_fits(layout).fits) out.push_back(layout);
  }
  return out;
}

struct Figures {
  std::vector<double> off;
  void add(double share) { off.push_back(std::abs(share)); }
  double worst() { return off.empty() ? 0 : *std::max_element(off.begin(), off.end()); }
  double median() {
    if (off.empty()) return 0;
    std::nth_element(off.begin(), off.begin() + static_cast<std::ptrdiff_t>(off.size() / 2), off.end());
    return off[off.size() / 2];
  }
};

constexpr double kMost = 0.005, kMedian = 0.0005;

// What the closed form has no term for, by the first mechanism without which the two agree within 0.5%.
const char* why(double free, double bare, double at_rest, const Layout& layout, const Profile& profile) {
  if (std::abs(free) < kMost) return "compute slowed by exchanges: when, not how much in all";
  if (std::abs(bare) < kMost) return "the host's lead where slots begin, and after waits";
  if (std::abs(at_rest) < kMost) return "state traffic under other micro-batches, or the schedule's slots";
  if (*profile.kernels.dispatch_overlap)
    return "dispatch under another micro-batch: bound by the slot, not by the layer";
  if (layout.schedule >= kScheduleDualpipe) return "a forward woven into a backward: what the links allow";
  return nullptr;
}

TEST(Simulator, IsTheClosedFormButForWhatThatSumsUp) {
  Figures all, bare_all;
  std::map<std::string, int> reasons;
  std::string unexplained;
  for (const Case& c : kCases) {
    Peeled p(inputs_of(c.model, c.cluster, c.batch, 4096, c.framework));
    const Routing& routing = p.inputs.settings.routing;
    Figures full, rest;
    for (const Layout& layout : some_layouts(p.problem, p.evaluator, kLayouts, 32)) {
      const double off = apart(p.evaluator.context(), p.evaluator.chain(layout), routing);
      const StepContext& bare_context = p.bare_evaluator.context();
      const double at_rest = apart_at_rest(bare_context, p.bare_evaluator.chain(layout), routing);
      full.add(off), all.add(off);
      const bool played = *p.inputs.profile.kernels.dispatch_overlap || layout.schedule >= kScheduleDualpipe;
      if (!played) rest.add(at_rest), bare_all.add(at_rest);
      if (std::abs(off) < kMost) continue;
      const double free = apart(p.free_evaluator.context(), p.free_evaluator.chain(layout), routing);
      const double bare = apart(bare_context, p.bare_evaluator.chain(layout), routing);
      const char* reason = why(free, bare, at_rest, layout, p.inputs.profile);
      if (reason)
        ++reasons[reason];
      else
        unexplained += "\n" + std::string(c.model) + " " + to_string(layout);
    }
    std::printf(
        "%-17s %zu layouts: median %.3f%%, worst %.2f%%; mechanisms taken out: median %.4f%%, worst %.3f%%\n",
        c.model, full.off.size(), 100 * full.median(), 100 * full.worst(), 100 * rest.median(),
        100 * rest.worst());
  }
  std::printf("all %zu: median %.3f%%, worst %.2f%%; taken out (%zu): median %.4f%%, worst %.3f%%\n",
              all.off.size(), 100 * all.median(), 100 * all.worst(), bare_all.off.size(),
              100 * bare_all.median(), 100 * bare_all.worst());
  for (const auto& [reason, count] : reasons) std::printf("  %4d above 0.5%%: %s\n", count, reason.c_str());
  EXPECT_EQ(unexplained, "");
  EXPECT_LT(bare_all.median(), kMedian);
  EXPECT_LT(bare_all.worst(), kMost);
}

// Ranks that stand for others have the times of all of them.
TEST(Simulator, FoldedIsUnfolded) {
  const Case cases[] = {{"llama-3.1-8b", "h100-sxm:16", 32, "megatron"},
                        {"mixtral-8x7b", "h100-sxm:64", 64, "megatron"},
                        {"qwen3-30b-a3b", "h200-sxm:32", 32, "torchtitan"}};
  std::size_t layouts = 0;
  for (const Case& c : cases) {
    const Inputs inputs = inputs_of(c.model, c.cluster, c.batch, 4096, c.framework);
    const Problem problem(inputs, inputs.cluster.gpus);
    Evaluator evaluator(problem.job, problem.machine, inputs.settings);
    std::mt19937_64 random(3);
    for (const Layout& layout : some_layouts(problem, evaluator, kFolded, 8)) {
      SimSettings settings;
      if (layouts % 2 ==
          1) {  // one rank is slow: it folds with nobody, and its groups with none of the others
        settings.slow.assign(static_cast<std::size_t>(layout.gpus()), 1);
        settings.slow[random() % settings.slow.size()] = 1.3;
      }
      const SimulatedStep folded = simulate(evaluator, layout, inputs.settings.routing, settings);
      settings.unfold = true;
      const SimulatedStep unfolded = simulate(evaluator, layout, inputs.settings.routing, settings);
      ASSERT_LE(folded.players.size(), unfolded.players.size());
      ASSERT_EQ(unfolded.players.size(), static_cast<std::size_t>(layout.gpus()));
      for (std::size_t rank = 0; rank < unfolded.players.size(); ++rank) {
        const auto player = static_cast<std::size_t>(folded.players.of_rank[rank]);
        ASSERT_EQ(folded.run.players[player].end, unfolded.run.players[rank].end) << to_string(layout);
        ASSERT_EQ(folded.run.players[player].terms, unfolded.run.players[rank].terms) << to_string(layout);
      }
      ++layouts;
    }
  }
  std::printf("%zu layouts, every rank the same to the picosecond\n", layouts);
}

}  // namespace
}  // namespace tw
