// trainwright size: how many GPUs, for how long and how much.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "planner/command.hpp"
#include "planner/options.hpp"
#include "planner/output.hpp"
#include "planner/plan.hpp"
#include "planner/size/options.hpp"
#include "planner/size/size.hpp"
#include "planner/space.hpp"
#include "reports/text.hpp"

namespace tw {
namespace {

int run(const SizeOptions& o) {
  o.asked.files.check();
  const SizeAsked asked = load_size(o);
  const SizeResult result = make_size(asked.inputs, asked.settings);
  o.asked.files.write(to_json(result));
  if (!o.asked.files.alone()) print(to_text(result, terminal_of(1), o.asked.quiet));
  return result.cheapest ? kAnswered : kNothingFits;
}

std::function<int()> setup(CLI::App& app) {
  auto o = std::make_shared<SizeOptions>();
  add_options(app, *o);
  app.footer(
      wrapped(limits_help(), 100, 0) +
      "\nExample:\n  trainwright size --model mixtral-8x22b --cluster h100-sxm --global-batch 512 --seq "
      "4096 --tokens 1T --gpus 128..1024 --price 2USD/h --deadline 60d"
      "\nExit codes: 0 answered; 2 bad input; 3 nothing is inside the limits, or no layout fits (the "
      "nearest is shown)");
  return [o] { return run(*o); };
}

}  // namespace

namespace commands {
extern constinit const Command size;
constinit const Command size = {
    "size", 1, "how many GPUs? days, dollars and layout for each count, failures included", setup};
}  // namespace commands
}  // namespace tw
