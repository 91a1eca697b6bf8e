// trainwright plan: which layout, over one or several numbers of GPUs.
#include <CLI/CLI.hpp>

#include "planner/command.hpp"
#include "planner/options.hpp"
#include "planner/output.hpp"
#include "planner/plan.hpp"
#include "planner/plan_file.hpp"
#include "planner/space.hpp"
#include "reports/json.hpp"
#include "reports/text.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

struct Options {
  Asked asked;
  std::string gpus, objective = "time", top = "10", fixed, save, engine = "closed";
};

constexpr std::int64_t kMostTop = 1 << 20;

PlanSettings settings_of(const Options& o, const Inputs& inputs) {
  PlanSettings out;
  out.gpus = o.gpus.empty() ? std::vector{inputs.cluster.gpus} : parse_gpus(o.gpus);
  out.fixed = o.fixed;
  out.objective = parse_objective(o.objective);
  out.top = static_cast<std::size_t>(whole_number("--top", o.top, 1, kMostTop));
  out.progress = !o.asked.quiet;
  if (o.engine != "closed" && o.engine != "sim")
    throw InputError("command line", "--engine", "\"" + printable(o.engine) + "\" is not there; legal: closed, sim");
  out.simulate = o.engine == "sim";
  return out;
}

void check_outputs(const Options& o) {
  o.asked.files.check();
  check_output("--save", o.save);
  if (o.save == "-")
    throw InputError("command line", "--save", "needs a file; --json - writes to standard output");
  if (!o.save.empty() && o.save == o.asked.files.json) {
    throw InputError("command line", "--save", "and --json name the same file; give two");
  }
}

int run(const Options& o) {
  check_outputs(o);
  const Inputs inputs = load_inputs(o.asked);
  const PlanResult result = make_plan(inputs, settings_of(o, inputs));
  const bool fits = !result.counts[result.answer].best.empty();
  if (!o.save.empty() && fits)
    write_output("--save", o.save, to_json(plan_file(o.asked, inputs, result)).dump() + "\n");
  o.asked.files.write(to_json(result));
  if (!o.asked.files.alone()) print(to_text(result, terminal_of(1), o.asked.quiet));
  return fits ? kAnswered : kNothingFits;
}

std::function<int()> setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_options(app, o->asked);
  const auto option = [&](const char* name, std::string& value, const char* help) {
    return text_option(app, name, value, help);
  };
  option("--gpus", o->gpus,
         "N: answer for these numbers of GPUs instead of the cluster's: 64, 64,128,256, or "
         "64..1024 for doublings");
  option("--objective", o->objective,
         "time: least seconds per step; cost: least GPU-seconds per step; gpus: fewest GPUs that fit");
  option("--top", o->top, "K: layouts to show")->capture_default_str();
  option("--engine", o->engine,
         "closed: the closed form; sim: the first 20 are also played, with links shared, and both times shown");
  option("--fix", o->fixed, "keys of the layout that must have these values, such as tp=8,recompute=full");
  option("--save", o->save, "FILE: the question and the layouts shown, for the commands that run a plan");
  app.footer(wrapped(limits_help(), 100, 0) +
             "\nExample:\n  trainwright plan --model mixtral-8x22b --cluster h100-sxm:128 --global-batch 256 "
             "--seq 4096"
             "\nExit codes: 0 answered; 2 bad input; 3 no layout fits (the nearest misses are shown)");
  return [o] { return run(*o); };
}

}  // namespace

namespace commands {
extern constinit const Command plan;
constinit const Command plan = {"plan", 1, "which layout? a ranked table, and why the first won", setup};
}  // namespace commands
}  // namespace tw
