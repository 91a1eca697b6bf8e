// trainwright export: a plan's layout as the launch file of a training framework.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "planner/command.hpp"
#include "planner/options.hpp"
#include "planner/output.hpp"
#include "planner/plan_file.hpp"
#include "planner/preflight/launch.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

struct Options {
  std::string plan, to, place = "1", out = "-";
};

const LaunchFormat& target(const std::string& name) {
  if (const LaunchFormat* found = find_row(all_launch(), name)) return *found;
  throw InputError("command line", "--to",
                   fmt::format("\"{}\" is unknown; legal: {}", printable(name), names_of(all_launch())));
}

int run(const Options& o) {
  check_output("--out", o.out);
  const LaunchFormat& format = target(o.to);
  const PlanFile plan = load_plan(o.plan);
  const PlannedLayout& planned = planned_layout(plan, "--place", o.place);
  const Inputs inputs = load_inputs(asked_of(plan));
  preflight::ExportAsk ask;
  ask.model = &inputs.model, ask.layout = parse_layout(planned.layout, plan.gpus);
  ask.global_batch = plan.global_batch, ask.seq = plan.seq;
  ask.gpus_per_node = inputs.cluster.node.gpus, ask.capacity_factor = plan.capacity_factor;
  write_output("--out", o.out, format.write(ask));
  return kAnswered;
}

std::function<int()> setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  text_option(app, "--plan", o->plan, "P: what trainwright plan --save wrote")->required();
  text_option(app, "--to", o->to, "TARGET: " + names_of(all_launch()))->required();
  text_option(app, "--place", o->place, "K: which layout of the plan");
  text_option(app, "--out", o->out, "FILE: where to write it; - for standard output");
  app.footer(
      "Example:\n  trainwright plan --model mixtral-8x7b --cluster h100-sxm:64 --global-batch 256 --seq 4096 "
      "--save "
      "plan.json\n  trainwright export --plan plan.json --to megatron --out train.sh\n"
      "  trainwright check --launch train.sh --cluster h100-sxm:64\n"
      "Exit codes: 0 written; 2 bad input, or what the target cannot express, by name");
  return [o] { return run(*o); };
}

}  // namespace

namespace commands {
extern constinit const Command export_plan;
constinit const Command export_plan = {"export", 7, "how do I launch it? a plan as a framework's launch file",
                                       setup};
}  // namespace commands
}  // namespace tw
