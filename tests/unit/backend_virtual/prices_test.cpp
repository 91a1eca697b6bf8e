// The clock of Programs whose steps cost what the closed form sums up, against the closed form's step: the
// same prices, put together by a run and by formulas that share no code.
#include <gtest/gtest.h>

#include "costmodel/evaluator.hpp"
#include "tests/support/problems.hpp"
#include "tests/support/thread_clocks.hpp"

namespace tw {
namespace {

struct Case {
  const char *model, *layout;
  std::int32_t gpus;
  std::int64_t batch;
};
const Case kCases[] = {{"llama-3.1-8b", "dp=1,recompute=full", 1, 4},
                       {"llama-3.1-8b", "dp=8,zero=1", 8, 32},
                       {"llama-3.1-8b", "dp=8,zero=3", 8, 16},
                       {"llama-3.1-8b", "tp=4,sp=1,dp=2,zero=1", 8, 16},
                       {"llama-3.1-8b", "tp=2,sp=0,cp=4,cp_kind=zigzag", 8, 8},
                       {"llama-3.1-8b", "pp=4,dp=2,zero=1", 8, 32},
                       {"llama-3.1-8b", "pp=4,schedule=gpipe", 4, 16},
                       {"llama-3.1-8b", "pp=4,vpp=4,schedule=interleaved", 4, 16},
                       {"llama-3.1-8b", "pp=4,schedule=zb-h1", 4, 16},
                       {"llama-3.1-8b", "pp=4,vpp=2,schedule=zb-v", 4, 16},
                       {"llama-3.1-8b", "pp=4,vpp=2,schedule=dualpipe-v", 4, 16},
                       {"qwen3-30b-a3b", "ep=8,dp=8,zero=1", 8, 16},
                       {"qwen3-30b-a3b", "tp=2,sp=1,ep=8,dp=4,zero=1", 8, 16},
                       {"qwen3-30b-a3b", "pp=2,ep=4,dp=4,zero=1,schedule=zb-h1", 8, 32}};

// What the closed form has and the clock has not: the host between steps and at launches, the slowest GPU,
// compute that is slowed by collectives beside it.
double on_the_clock(const Cost& cost) {
  const TermSeconds& t = cost.terms;
  return cost.step_seconds - double{t[Term::host]} - double{t[Term::stragglers]} -
         double{t[Term::interference]};
}

TEST(Prices, TheClockOfAProgramIsNearTheClosedForm) {
  for (const Case& c : kCases) {
    const Inputs inputs =
        inputs_of(c.model, "h100-sxm:" + std::to_string(c.gpus), c.batch, 4096, "trainwright");
    const Problem problem(inputs, c.gpus);
    Evaluator evaluator(problem.job, problem.machine, inputs.settings);
    const Layout layout = parse_layout(c.layout, c.gpus);
    const Cost cost = evaluator.cost(layout);
    ProgramInput input;
    input.model = inputs.model, input.profile = inputs.profile, input.layout = layout,
    input.job = problem.job;
    const Program program(std::move(input));
    const auto ranks = run_all_ranks(program, step_seconds(program, problem.machine));
    double clock = 0;
    for (const auto& rank : ranks) clock = std::max(clock, rank->engine.now());
    const double ratio = clock / on_the_clock(cost);
    std::printf("%-14s %-42s clock %.3f s, closed form %.3f s, of it on the clock %.3f s: ratio %.3f\n",
                c.model, c.layout, clock, cost.step_seconds, on_the_clock(cost), ratio);
    EXPECT_NEAR(ratio, 1, 0.1) << c.layout;
  }
}

}  // namespace
}  // namespace tw
