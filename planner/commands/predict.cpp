// trainwright predict: what one layout costs, by term, stage and part of memory.
#include <CLI/CLI.hpp>

#include "planner/command.hpp"
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
  if (o.engine != "closed") {
    throw InputError("command line", "--engine",
                     "\"" + printable(o.engine) + "\" is not there; legal: closed");
  }
  if (o.ops && o.asked.files.alone()) {
    throw InputError("command line", "--ops",
                     "prints text, and --json - leaves no room for it; give --json a file");
  }
  o.asked.files.check();
}

Layout legal_layout(const Options& o, const Problem& problem) {
  Layout layout = parse_layout(o.layout, problem.job.gpus);
  if (!parse_layout_keys(o.layout, "--layout").has(LayoutKey::precision))
    layout.precision = problem.inputs.precision;
  const std::string why = illegal_because(layout, problem.job);
  if (!why.empty()) throw InputError("command line", "--layout", why);
  const std::string unpriced =
      unpriced_because(layout.precision, problem.cluster.device, problem.inputs.calibration);
  if (!unpriced.empty()) throw InputError("command line", "--layout", unpriced);
  return layout;
}

int run(const Options& o) {
  refuse_contradictions(o);
  const Inputs inputs = load_inputs(o.asked);
  const Problem problem(inputs, inputs.cluster.gpus);
  const Layout layout = legal_layout(o, problem);
  Evaluator evaluator(problem.job, problem.machine, inputs.settings);
  PredictResult result{question_of(problem), predict(evaluator, layout), {}};
  const std::string beyond = beyond_framework(inputs.profile, inputs.model, layout);
  if (!beyond.empty() && !inputs.any_framework) {
    result.notes.push_back(inputs.profile.name + " cannot run " + beyond +
                           "; priced with its kernels all the same");
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
  text_option(
      app, "--layout", o->layout,
      "L: keys and values joined by commas, such as dp=8,tp=4,pp=2,ep=8,zero=1,recompute=selective; dp may "
      "be left out, the others default to tp=1,pp=1,cp=1,ep=1,etp=1,vpp=1,sp=0,zero=0,hsdp=0,mb=1,"
      "recompute=none,schedule=1f1b")
      ->required();
  text_option(app, "--engine", o->engine, "closed: the closed form");
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
