// trainwright simulate: what happens when? a layout's step played operation by operation.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>

#include "costmodel/sim/memory.hpp"
#include "costmodel/sim/trace.hpp"
#include "planner/child.hpp"
#include "planner/command.hpp"
#include "planner/layout_option.hpp"
#include "planner/mpi_peers.hpp"
#include "planner/options.hpp"
#include "planner/output.hpp"
#include "planner/plan_file.hpp"
#include "planner/problem.hpp"
#include "planner/sim_options.hpp"
#include "planner/simulated.hpp"
#include "reports/sim_result.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

struct Options {
  Asked asked;
  SimAsk sim;
  std::string layout, plan, place = "1", trace;
};

// A plan says model, cluster and question, and one of its layouts.
void read_plan(Options& o) {
  for (const auto& [option, given] : {std::pair("--model", &o.asked.model),
                                      {"--cluster", &o.asked.cluster},
                                      {"--global-batch", &o.asked.global_batch},
                                      {"--seq", &o.asked.seq},
                                      {"--layout", &o.layout}}) {
    if (!o.plan.empty() && !given->empty())
      throw InputError("command line", option, "is what the plan says; leave it out, or --plan");
    if (o.plan.empty() && given->empty())
      throw InputError("command line", option, "is missing; give it, or --plan P instead of the question");
  }
  if (o.plan.empty()) return;
  const PlanFile plan = load_plan(o.plan);
  Asked asked = asked_of(plan);
  asked.files = o.asked.files, asked.quiet = o.asked.quiet;
  o.asked = std::move(asked);
  o.layout = planned_layout(plan, "--place", o.place).layout;
}

// Experts are unequal here by their load; the prices that it starts from are those of equal ones.
void check_experts(const SimSettings& settings, const Inputs& inputs, const Layout& layout) {
  const Routing& routing = inputs.settings.routing;
  if (settings.pieces > 1 && *inputs.profile.kernels.dispatch_overlap)
    throw InputError("command line", "--a2a-chunks",
                     "framework " + inputs.profile.name + " runs it under another micro-batch instead");
  if (settings.pieces > 1 && layout.ep == 1)
    throw InputError("command line", "--a2a-chunks", "needs ep above 1: no routed token travels");
  if (settings.skew == SkewAsk{}) return;
  if (layout.ep == 1) throw InputError("command line", "--load", "needs ep above 1: a rank has all experts");
  if (routing.capacity_factor > 0)
    throw InputError("command line", "--capacity-factor",
                     "makes all experts equal; leave it out with --load");
  if (routing.max_over_mean != 1 || routing.likeness > 0)
    throw InputError("command line", "--expert-load",
                     "is the closed form's mean effect; leave it out with --load");
}

int answer(Options o, SimPeers* peers) {
  o.asked.files.check();
  read_plan(o);
  if (!o.trace.empty()) check_output("--trace", o.trace);
  const Inputs inputs = load_inputs(o.asked);
  const Problem problem(inputs, inputs.cluster.gpus);
  const Layout layout = legal_layout(o.layout, problem);
  Evaluator evaluator(problem.job, problem.machine, inputs.settings);
  SimSettings settings = settings_of(o.sim, problem.job.gpus, problem.cluster);
  settings.timeline = !o.trace.empty(), settings.peers = peers;
  check_experts(settings, inputs, layout);
  const auto start = std::chrono::steady_clock::now();
  const SimulatedStep step = simulate(evaluator, layout, inputs.settings.routing, settings);
  const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  SimResult result = sim_result(problem, evaluator, layout, settings, step);
  result.conditions = conditions_of(o.sim);
  const int code = result.fits ? kAnswered : kNothingFits;
  if (peers && peers->self > 0) return code;  // the first has it all, and says it
  if (!o.trace.empty())
    write_output("--trace", o.trace, trace_text(step, evaluator.context(), evaluator.chain(layout)));
  o.asked.files.write(to_json(result));
  if (!o.asked.files.alone()) print(to_text(result, wall, terminal_of(1), o.asked.quiet));
  return code;
}

// Under mpirun every process comes to the same errors of input; one says them.
int run(const Options& o) {
  if (!launched()) return answer(o, nullptr);
  MpiPeers mpi;
  try {
    return answer(o, &mpi.peers);
  } catch (const InputError&) {
    if (mpi.peers.self == 0) throw;
    return kBadInput;
  }
}

std::function<int()> setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_options(app, o->asked);
  for (const char* option : {"--model", "--cluster", "--global-batch", "--seq"})
    app.get_option(option)->required(false);  // or --plan
  layout_option(app, o->layout);
  text_option(app, "--plan", o->plan,
              "P: what trainwright plan --save wrote, instead of question and layout");
  text_option(app, "--place,--pick", o->place, "K: which layout of the plan");
  text_option(app, "--trace", o->trace, "FILE: the timeline, which ui.perfetto.dev opens");
  add_options(app, o->sim);
  app.footer(
      "Example:\n  trainwright simulate --model mixtral-8x7b --cluster h100-sxm:32 --global-batch 64 --seq "
      "4096 "
      "--layout dp=4,tp=1,pp=8,ep=4,zero=1 --trace step.json\n  trainwright simulate --plan plan.json "
      "--place 2\nExit codes: 0 it fits; 2 bad input; 3 it does "
      "not "
      "fit");
  return [o] { return run(*o); };
}

}  // namespace

namespace commands {
extern constinit const Command simulate;
constinit const Command simulate = {"simulate", 2, "what happens when? a step played operation by operation",
                                    setup};
}  // namespace commands
}  // namespace tw
