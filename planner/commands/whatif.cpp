// trainwright whatif: another topology or another job, re-planned at every point.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "planner/command.hpp"
#include "planner/options.hpp"
#include "planner/output.hpp"
#include "planner/space.hpp"
#include "planner/whatif/whatif.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

struct Options {
  Asked asked;
  std::vector<std::string> vary;
  std::string fixed;
};

WhatifSettings settings_of(const Options& o) {
  WhatifSettings out;
  for (const std::string& text : o.vary) {
    out.axes.push_back(parse_vary(text));
    for (std::size_t i = 0; i + 1 < out.axes.size(); ++i) {
      if (out.axes[i].variable == out.axes.back().variable)
        throw InputError("command line", "--vary", "\"" + printable(text) + "\": varied twice");
    }
  }
  if (out.axes.empty())
    throw InputError("command line", "--vary", "is missing; give one such as nvlink_domain=8,72");
  out.fixed = o.fixed, out.calibration = o.asked.calibration, out.progress = !o.asked.quiet;
  return out;
}

int run(const Options& o) {
  o.asked.files.check();
  const WhatifSettings settings = settings_of(o);
  const WhatifResult result = make_whatif(load_inputs(o.asked), settings);
  o.asked.files.write(to_json(result));
  if (!o.asked.files.alone()) print(to_text(result, terminal_of(1), o.asked.quiet));
  for (const WhatifPoint& point : result.points) {
    if (point.best) return kAnswered;
  }
  return kNothingFits;
}

std::string variables_help() {
  std::string out = "What may be varied:\n";
  for (const Variable& each : variables()) out += fmt::format("  {:<17} {}\n", each.name, each.help);
  return out;
}

std::function<int()> setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_options(app, o->asked);
  app.add_option("--vary", o->vary, "NAME=VALUE,VALUE: plan at each of these; several: at every combination")
      ->type_name("");
  text_option(app, "--fix", o->fixed,
              "keys of the layout that must have these values, such as tp=8,recompute=full");
  app.footer(
      variables_help() + wrapped(limits_help(), 100, 0) +
      "\nExample:\n  trainwright whatif --model mixtral-8x22b --cluster h100-sxm:128 --global-batch 256 "
      "--seq 4096 --vary nvlink_domain=8,72 --vary inter_bandwidth=\"25 GB/s\",\"50 GB/s\""
      "\nExit codes: 0 answered; 2 bad input; 3 no layout fits at any point");
  return [o] { return run(*o); };
}

}  // namespace

namespace commands {
extern constinit const Command whatif;
constinit const Command whatif = {"whatif", 2, "what would another topology or another job do?", setup};
}  // namespace commands
}  // namespace tw
