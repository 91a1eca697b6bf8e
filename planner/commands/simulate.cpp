// trainwright simulate: what happens when? a layout's step played operation by operation.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>

#include "costmodel/sim/memory.hpp"
#include "costmodel/sim/trace.hpp"
#include "planner/command.hpp"
#include "planner/layout_option.hpp"
#include "planner/options.hpp"
#include "planner/output.hpp"
#include "planner/plan_file.hpp"
#include "planner/problem.hpp"
#include "planner/simulated.hpp"
#include "reports/sim_result.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

constexpr double kMostSlow = 1000, kMostJitter = 1;
constexpr std::int64_t kMostPieces = 8;

struct Options {
  Asked asked;
  std::string layout, plan, place = "1", trace, slow, jitter, seed = "1", pieces = "1";
  bool unfold = false, no_contention = false;
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

// "7:1.2" or "7:1.2,9:1.1": ranks and how much longer their compute takes.
std::vector<double> slow_ranks(const std::string& text, std::int32_t ranks) {
  std::vector<double> out;
  if (text.empty()) return out;
  out.assign(static_cast<std::size_t>(ranks), 1);
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t comma = std::min(text.find(',', start), text.size());
    const std::string one = text.substr(start, comma - start);
    const std::size_t colon = one.find(':');
    if (colon == std::string::npos)
      throw InputError("command line", "--slow",
                       "\"" + printable(one) + "\": give RANK:FACTOR, such as 7:1.2");
    const std::int64_t rank = whole_number("--slow", one.substr(0, colon), 0, ranks - 1);
    out[static_cast<std::size_t>(rank)] = decimal("--slow", one.substr(colon + 1), 1, kMostSlow);
    start = comma + 1;
  }
  return out;
}

SimSettings settings_of(const Options& o, std::int32_t ranks) {
  SimSettings out;
  out.contention = !o.no_contention, out.unfold = o.unfold, out.timeline = !o.trace.empty();
  out.slow = slow_ranks(o.slow, ranks);
  if (!o.jitter.empty()) out.jitter = decimal("--jitter", o.jitter, 0, kMostJitter);
  constexpr std::int64_t kMostSeed = std::int64_t{1} << 53;
  out.pieces = static_cast<std::int32_t>(whole_number("--a2a-chunks", o.pieces, 1, kMostPieces));
  out.seed = static_cast<std::uint64_t>(whole_number("--seed", o.seed, 0, kMostSeed));
  return out;
}

int run(Options o) {
  o.asked.files.check();
  read_plan(o);
  if (!o.trace.empty()) check_output("--trace", o.trace);
  const Inputs inputs = load_inputs(o.asked);
  const Problem problem(inputs, inputs.cluster.gpus);
  const Layout layout = legal_layout(o.layout, problem);
  Evaluator evaluator(problem.job, problem.machine, inputs.settings);
  const SimSettings settings = settings_of(o, problem.job.gpus);
  const auto start = std::chrono::steady_clock::now();
  const SimulatedStep step = simulate(evaluator, layout, inputs.settings.routing, settings);
  const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const SimResult result = sim_result(problem, evaluator, layout, settings, step);
  if (!o.trace.empty())
    write_output("--trace", o.trace, trace_text(step, evaluator.context(), evaluator.chain(layout)));
  o.asked.files.write(to_json(result));
  if (!o.asked.files.alone()) print(to_text(result, wall, terminal_of(1), o.asked.quiet));
  return result.fits ? kAnswered : kNothingFits;
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
  app.add_flag("--unfold", o->unfold, "play every rank; else ranks that cannot differ are played once");
  app.add_flag("--no-contention", o->no_contention,
               "exchanges take what they take alone, whatever shares their links");
  text_option(
      app, "--a2a-chunks", o->pieces,
      "1 to 8: routed tokens travel in so many pieces, each while the experts work on the one before");
  text_option(app, "--slow", o->slow, "RANK:FACTOR,...: compute of these ranks takes so much longer");
  text_option(app, "--jitter", o->jitter,
              "relative standard deviation of each computation's time (plays every rank)");
  text_option(app, "--seed", o->seed, "of the jitter");
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
