// trainwright check: may this launch, or this plan, start, and is it as fast as it should be?
#include <CLI/CLI.hpp>

#include "planner/answer_files.hpp"
#include "planner/command.hpp"
#include "planner/options.hpp"
#include "planner/output.hpp"
#include "planner/preflight/check.hpp"
#include "planner/preflight/machine.hpp"
#include "planner/preflight/measured.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

struct Options {
  preflight::CheckAsk ask;
  AnswerFiles files;
  std::string plan, place = "1", global_batch, seq, model;
  std::vector<std::string> variables;
  preflight::MeasuredAsk measured;
  std::string launcher;
  bool no_search = false, machine = false;
};

constexpr std::int64_t kMostBatch = 1 << 30;

int code_of(const CheckResult& result) {
  if (result.verdict() == Severity::fail) return kNothingFits;
  return result.verdict() == Severity::warn ? kWarned : kAnswered;
}

preflight::ShellVariables variables_of(const std::vector<std::string>& given) {
  preflight::ShellVariables out;
  for (const std::string& each : given) {
    const std::size_t equals = each.find('=');
    if (equals == std::string::npos || equals == 0)
      throw InputError("command line", "--set", "\"" + printable(each) + "\" is not NAME=VALUE");
    out[each.substr(0, equals)] = {each.substr(equals + 1)};
  }
  return out;
}

CheckResult checked_launch(Options& o) {
  if (o.ask.launch.file.empty())
    throw InputError("command line", "--launch", "is missing; give --launch FILE or --plan P");
  if (o.ask.asked.cluster.empty())
    throw InputError("command line", "--cluster", "is missing: --launch needs it");
  preflight::LaunchAsk& launch = o.ask.launch;
  launch.variables = variables_of(o.variables);
  launch.model = o.model;
  if (!o.global_batch.empty())
    launch.global_batch = whole_number("--global-batch", o.global_batch, 1, kMostBatch);
  if (!o.seq.empty()) launch.seq = static_cast<std::int32_t>(whole_number("--seq", o.seq, 1, kMostBatch));
  o.ask.search = !o.no_search;
  return preflight::check_launch(o.ask);
}

CheckResult checked_plan(const Options& o) {
  if (!o.ask.launch.file.empty() || !o.ask.asked.cluster.empty())
    throw InputError("command line", "--plan",
                     "says the launch and the cluster; leave out --launch and --cluster");
  return preflight::check_plan(o.plan, static_cast<std::size_t>(whole_number("--place", o.place, 1, 500)),
                               !o.no_search);
}

int run(Options o) {
  o.files.check();
  CheckResult result = o.plan.empty() ? checked_launch(o) : checked_plan(o);
  if (o.machine) {
    if (o.plan.empty()) throw InputError("command line", "--machine", "needs --plan");
    preflight::judge_machine({o.plan, o.launcher}, result);
  }
  if (!o.measured.step.empty() || !o.measured.profile.empty()) preflight::judge_measured(o.measured, result);
  o.files.write(to_json(result));
  if (!o.files.alone()) print(to_text(result, terminal_of(1), o.ask.asked.quiet));
  return code_of(result);
}

std::function<int()> setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  Asked& asked = o->ask.asked;
  asked.framework = "";
  text_option(
      app, "--launch", o->ask.launch.file,
      "FILE: a shell script or argument list of Megatron-LM, a TOML file of torchtitan, a JSON file of "
      "DeepSpeed or the script that names it, overrides of NeMo or Megatron-Bridge");
  text_option(app, "--plan", o->plan, "P: what trainwright plan --save wrote, instead of --launch");
  text_option(app, "--place", o->place, "K: which layout of the plan");
  text_option(app, "--cluster", asked.cluster,
              "C: a file, or a name (trainwright list clusters), with :GPUS");
  text_option(app, "--format", o->ask.format, "megatron, torchtitan, deepspeed, nemo; default: by the file");
  text_option(app, "--model", o->model, "M: where the file does not say the model's sizes");
  text_option(app, "--seq", o->seq, "S: tokens of a sequence, where the file does not say it");
  text_option(app, "--global-batch", o->global_batch,
              "B: sequences of a step, where the file does not say it");
  app.add_option("--set", o->variables, "NAME=VALUE: a variable that is set outside a script")
      ->type_name("")
      ->expected(1)
      ->take_all();
  text_option(app, "--framework", asked.framework, "F: whose kernels are priced; default: the target's");
  text_option(app, "--calibration", asked.calibration,
              "K: what kernels and links cost; default: the cluster's own");
  text_option(app, "--headroom", asked.headroom, "device memory to leave free");
  text_option(app, "--expert-load", asked.expert_load, "tokens of the busiest expert rank over the mean");
  text_option(app, "--measured", o->measured.step,
              "T: a measured step, such as \"12.3 s\", beside the predicted one");
  text_option(
      app, "--profile", o->measured.profile,
      "TRACE: of the PyTorch profiler (export_chrome_trace); its time by our terms, the largest gaps named");
  app.add_flag("--machine", o->machine,
               "what is really here, on every host: ranks, GPUs, NVLink, NICs, and a short probe of each GPU "
               "and link");
  text_option(app, "--launcher", o->launcher,
              "'CMD {ranks}': starts the ranks of --machine; default: mpirun, or srun");
  app.add_flag("--no-search", o->no_search, "looks for no better layout");
  add_options(app, o->files, "FILE: the result as JSON; - for standard output");
  app.add_flag("--quiet", asked.quiet, "the verdict alone");
  app.footer(
      "Example:\n  trainwright check --launch train.sh --cluster h100-sxm:64\n"
      "Exit codes: 0 pass; 2 bad input; 3 fail; 5 warn");
  return [o] { return run(*o); };
}

}  // namespace

namespace commands {
extern constinit const Command check;
constinit const Command check = {"check", 8, "may this launch file run, and is it as fast as it should be?",
                                 setup};
}  // namespace commands
}  // namespace tw
