// trainwright predict: what one layout costs, by term, stage and part of memory.
#include <CLI/CLI.hpp>

#include "costmodel/sim/simulate.hpp"
#include "planner/command.hpp"
#include "planner/layout_option.hpp"
#include "planner/options.hpp"
#include "planner/output.hpp"
#include "planner/problem.hpp"
#include "planner/space.hpp"
#include "reports/json.hpp"
#include "reports/ops_text.hpp"
#include "reports/text.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

struct Options {
  Asked asked;
  std::string layout, engine = "closed";
  bool ops = false;
};

void refuse_contradictions(const Options& o) {
  if (o.engine != "closed" && o.engine != "sim") {
    throw InputError("command line", "--engine",
                     "\"" + printable(o.engine) + "\" is not there; legal: closed, sim");
  }
  if (o.ops && o.asked.files.alone()) {
    throw InputError("command line", "--ops",
                     "prints text, and --json - leaves no room for it; give --json a file");
  }
  o.asked.files.check();
}

int run(const Options& o) {
  refuse_contradictions(o);
  const Inputs inputs = load_inputs(o.asked);
  const Problem problem(inputs, inputs.cluster.gpus);
  const Layout layout = legal_layout(o.layout, problem);
  Evaluator evaluator(problem.job, problem.machine, inputs.settings);
  PredictResult result{question_of(problem), predict(evaluator, layout), {}};
  const std::string beyond = beyond_framework(inputs.profile, inputs.model, layout);
  if (!beyond.empty() && !inputs.any_framework) {
    result.notes.push_back(inputs.profile.name + " cannot run " + beyond +
                           "; priced with its kernels all the same");
  }
  if (o.engine == "sim") {
    SimSettings shared;
    shared.contention = true;
    result.simulated_seconds = simulate(evaluator, layout, inputs.settings.routing, shared).seconds;
    result.notes.push_back("simulated with links shared: " + seconds_text(result.simulated_seconds) +
                           " per step; `simulate` shows where it goes");
  }
  o.asked.files.write(to_json(result));
  if (o.asked.files.alone()) return result.prediction.cost.fits ? kAnswered : kNothingFits;
  print(to_text(result, terminal_of(1), o.asked.quiet));
  if (o.ops)
    print(ops_text(evaluator.chain(layout), evaluator.context(), inputs.settings.routing, terminal_of(1)));
  return result.prediction.cost.fits ? kAnswered : kNothingFits;
}

std::function<int()> setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_options(app, o->asked);
  layout_option(app, o->layout)->required();
  text_option(app, "--engine", o->engine, "closed: the closed form; sim: the step is also played, with links shared");
  app.add_flag("--ops", o->ops, "also the operations of each kind of layer, with the time of each");
  app.footer(
      "Example:\n  trainwright predict --model llama-3.1-70b --cluster h100-sxm:64 --global-batch 128 --seq "
      "8192 "
      "--layout tp=8,pp=4,sp=1,zero=1,recompute=selective\nExit codes: 0 it fits; 2 bad input; 3 it does not "
      "fit");
  return [o] { return run(*o); };
}

}  // namespace

namespace commands {
extern constinit const Command predict;
constinit const Command predict = {
    "predict", 2, "what does this layout cost? time by term, memory by part and stage", setup};
}  // namespace commands
}  // namespace tw
