// trainwright confirm: short real training runs of a plan's best layouts.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "planner/answer_files.hpp"
#include "planner/command.hpp"
#include "planner/confirm/confirm.hpp"
#include "planner/options.hpp"
#include "planner/output.hpp"
#include "planner/problem.hpp"
#include "reports/table.hpp"

namespace tw {
namespace {

struct Options {
  ConfirmSettings settings;
  std::string top = "3", steps = "20", patience = "120";
  AnswerFiles files;
  bool quiet = false;
};

bool inside_bands(const Confirmed& result) {
  for (const ConfirmedLayout& each : result.layouts) {
    if (!each.measured) return false;
    const double measured = each.measured->median_s;
    if (measured < each.predicted.low_seconds || measured > each.predicted.high_seconds) return false;
  }
  return true;
}

int run(Options o) {
  o.settings.top = static_cast<std::size_t>(whole_number("--top", o.top, 1, 500));
  o.settings.steps = whole_number("--steps", o.steps, 1, 999999);
  o.settings.patience = decimal("--patience", o.patience, 0.1, 86400);
  o.files.check();
  if (!o.files.alone()) o.settings.record = o.files.json;
  const bool shown = !o.quiet && !o.files.alone();
  const Confirmed result = confirm(o.settings, [&](const std::string& line) {
    if (shown) fmt::print(stderr, "{}\n", line);
  });
  o.files.write(to_json(result));
  if (!o.files.alone()) print(to_text(result, terminal_of(1).width));
  return result.all_ran() && inside_bands(result) ? kAnswered : kRunFailed;
}

std::function<int()> setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  text_option(app, "--plan", o->settings.plan, "P: what trainwright plan --save wrote")->required();
  text_option(app, "--top", o->top, "K: of its layouts, best first");
  text_option(app, "--steps", o->steps, "N: of each run, after three to warm up");
  text_option(app, "--data", o->settings.data,
              "FILE: its bytes are the tokens; default: a seeded synthetic language");
  text_option(app, "--launcher", o->settings.launcher,
              "'CMD {ranks}': starts a run; default: mpirun, or srun inside its job");
  text_option(app, "--runner", o->settings.runner,
              "'CMD {args}': starts another framework with the exported launch and reads its log; {args}: "
              "its options, "
              "{file}: its launch file, {gpus}: its ranks");
  text_option(app, "--to", o->settings.target,
              "TARGET of --runner (trainwright export --help); default: the plan's framework");
  text_option(app, "--patience", o->patience, "S: a run that says nothing for so many seconds has hung");
  add_options(
      app, o->files,
      "FILE: predictions, written before the first run, and what was measured; - for standard output");
  app.add_flag("--quiet", o->quiet, "the answer alone: no progress");
  app.footer(
      "Example:\n  trainwright plan --model tiny-moe --cluster local-cpu:2 --calibration here.json "
      "--framework "
      "trainwright-cpu --global-batch 16 --seq 256 --save plan.json\n  trainwright confirm --plan plan.json "
      "--top 3\n"
      "Exit codes: 0 every run lies inside its band; 2 bad input; 4 a run failed or lies outside");
  return [o] { return run(*o); };
}

}  // namespace

namespace commands {
extern constinit const Command confirm;
constinit const Command confirm = {
    "confirm", 7, "was the plan right? short real training runs, measured beside predicted", setup};
}  // namespace commands
}  // namespace tw
