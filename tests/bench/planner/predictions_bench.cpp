// Complete predictions per second over distinct layouts in shuffled order, and legal layouts decided
// per second, on one core. Run `make bench`; items_per_second is the figure.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <random>

#include "planner/search.hpp"
#include "planner/space.hpp"
#include "tests/support/problems.hpp"

namespace tw {
namespace {

Inputs job(const char* model) {
  return inputs_of(model, "h100-sxm:128", 256, 4096);
}

constexpr std::size_t kMostLayouts = 200000;

std::vector<Layout> shuffled_layouts(const Problem& problem) {
  std::vector<Layout> out;
  for_each_layout(space_of(problem, ""), problem.job,
                  [&](const Layout& layout, Link) { out.push_back(layout); });
  std::shuffle(out.begin(), out.end(), std::mt19937_64(7));
  out.resize(std::min(out.size(), kMostLayouts));
  return out;
}

// Shuffled layouts come back to every pass, so all of them are remembered.
EvaluatorSettings with_large_cache(EvaluatorSettings settings) {
  constexpr std::size_t kMostPasses = 1 << 20;
  settings.most_passes = kMostPasses;
  return settings;
}

// The whole step cost with per-stage memory and band; the caches are filled once before the clock runs.
void complete_predictions(benchmark::State& state, const char* model) {
  const Inputs inputs = job(model);
  const Problem problem(inputs, inputs.cluster.gpus);
  const std::vector<Layout> layouts = shuffled_layouts(problem);
  Evaluator evaluator(problem.job, problem.machine, with_large_cache(inputs.settings));
  for (const Layout& layout : layouts) benchmark::DoNotOptimize(evaluator.cost(layout));
  std::size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(evaluator.cost(layouts[next]));
    next = next + 1 == layouts.size() ? 0 : next + 1;
  }
  state.SetItemsProcessed(state.iterations());
  state.counters["layouts"] = static_cast<double>(layouts.size());
}

// The same with cold caches: what a search pays in all.
void cold_predictions(benchmark::State& state, const char* model) {
  const Inputs inputs = job(model);
  const Problem problem(inputs, inputs.cluster.gpus);
  const std::vector<Layout> layouts = shuffled_layouts(problem);
  for (auto _ : state) {
    Evaluator evaluator(problem.job, problem.machine, with_large_cache(inputs.settings));
    for (const Layout& layout : layouts) benchmark::DoNotOptimize(evaluator.cost(layout));
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(layouts.size()));
}

void legal_layouts(benchmark::State& state, const char* model) {
  const Inputs inputs = job(model);
  const Problem problem(inputs, inputs.cluster.gpus);
  const SearchSpace space = space_of(problem, "");
  std::int64_t legal = 0;
  for (auto _ : state) {
    legal += for_each_layout(space, problem.job, [](const Layout& layout, Link) {
               benchmark::DoNotOptimize(layout.dp);
             }).legal;
  }
  state.SetItemsProcessed(legal);
}

void whole_plan(benchmark::State& state, const char* model) {
  const Inputs inputs = job(model);
  const Problem problem(inputs, inputs.cluster.gpus);
  const SearchSpace space = space_of(problem, "");
  std::int64_t legal = 0;
  for (auto _ : state) legal += search(problem, space, {}, {}).searched.legal;
  state.SetItemsProcessed(legal);
}

BENCHMARK_CAPTURE(complete_predictions, dense, "llama-3.1-70b");
BENCHMARK_CAPTURE(complete_predictions, moe, "mixtral-8x22b");
BENCHMARK_CAPTURE(cold_predictions, dense, "llama-3.1-70b")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(cold_predictions, moe, "mixtral-8x22b")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(legal_layouts, dense, "llama-3.1-70b")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(legal_layouts, moe, "mixtral-8x22b")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(whole_plan, moe, "mixtral-8x22b")->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace tw
