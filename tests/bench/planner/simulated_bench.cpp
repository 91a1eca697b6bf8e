// Events per second of the simulator, on one core: folded and unfolded, with links shared and without.
#include <benchmark/benchmark.h>

#include "costmodel/sim/simulate.hpp"
#include "tests/support/problems.hpp"

namespace tw {
namespace {

struct Posed {
  const char *model, *cluster, *framework, *layout;
  std::int64_t batch;
};
constexpr Posed kDense = {"llama-3.1-70b", "h100-sxm:512", "megatron", "tp=8,pp=4,sp=1,zero=1", 512};
constexpr Posed kRouted = {
    "deepseek-v3", "h800:2048", "deepseek-v3",
    "pp=16,dp=128,ep=64,zero=1,recompute=norm+moe_act+mla_up,schedule=dualpipe,a2a=dedup", 15360};

void events(benchmark::State& state, const Posed& posed, bool unfold, bool contention) {
  const Inputs inputs = inputs_of(posed.model, posed.cluster, posed.batch, 4096, posed.framework);
  const Problem problem(inputs, inputs.cluster.gpus);
  const Layout layout = parse_layout(posed.layout, inputs.cluster.gpus);
  Evaluator evaluator(problem.job, problem.machine, inputs.settings);
  SimSettings settings;
  settings.unfold = unfold, settings.contention = contention;
  std::int64_t handled = 0;
  for (auto _ : state) {
    const SimulatedStep step = simulate(evaluator, layout, inputs.settings.routing, settings);
    benchmark::DoNotOptimize(step.seconds);
    handled += step.run.events;
  }
  state.SetItemsProcessed(handled);
}

BENCHMARK_CAPTURE(events, dense_folded, kDense, false, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(events, dense_unfolded, kDense, true, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(events, dense_folded_shared, kDense, false, true)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(events, routed_folded, kRouted, false, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(events, routed_folded_shared, kRouted, false, true)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace tw
