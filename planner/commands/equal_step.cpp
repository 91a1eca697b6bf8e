// trainwright equal-step: the MoE that trains as fast as a dense model, and the tokens each gets.
#include <CLI/CLI.hpp>

#include "planner/command.hpp"
#include "planner/economics/equal_step.hpp"
#include "planner/options.hpp"
#include "planner/output.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

struct Options {
  Asked asked;
  std::string experts, top_k = "2", every = "1", tokens, fixed;
};

EqualStepSettings settings_of(const Options& o) {
  constexpr std::int64_t kMostExperts = 4096;
  const auto count = [](std::string_view option, const std::string& text, std::int64_t most) {
    return static_cast<std::int32_t>(whole_number(option, text, 1, most));
  };
  EqualStepSettings out;
  out.experts = count("--experts", o.experts, kMostExperts);
  out.top_k = count("--top-k", o.top_k, out.experts);
  out.every = count("--every", o.every, kMostExperts);
  out.fixed = o.fixed;
  if (o.tokens.empty()) return out;
  const Parsed<std::int64_t> tokens = parse_count(o.tokens, "tokens");
  if (!tokens.value || *tokens.value < 1)
    throw InputError("command line", "--tokens", "\"" + printable(o.tokens) + "\": " + tokens.error);
  out.tokens = *tokens.value;
  return out;
}

int run(const Options& o) {
  o.asked.files.check();
  const EqualStepSettings settings = settings_of(o);
  const EqualStepResult result = equal_step(load_inputs(o.asked), settings);
  o.asked.files.write(to_json(result));
  if (!o.asked.files.alone()) print(to_text(result, terminal_of(1), o.asked.quiet));
  return result.why_not.empty() ? kAnswered : kNothingFits;
}

std::function<int()> setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_options(app, o->asked);
  text_option(app, "--experts", o->experts, "E: experts of a routed layer")->required();
  text_option(app, "--top-k", o->top_k, "K: experts for each token");
  text_option(app, "--every", o->every, "N: one of N layers is routed");
  text_option(
      app, "--tokens", o->tokens,
      "T: that the dense model trains on, which sets the budget; default: 20 for each of its parameters");
  text_option(app, "--fix", o->fixed, "keys of all layouts that must have these values");
  app.footer(
      "Example:\n  trainwright equal-step --model scenarios/shapes/dense-6.4b.json --cluster h100-sxm:64 "
      "--global-batch 512 --seq "
      "4096 --experts 64\nExit codes: 0 answered; 2 bad input; 3 no MoE of the family has an equal step");
  return [o] { return run(*o); };
}

}  // namespace

namespace commands {
extern constinit const Command equal_step;
constinit const Command equal_step = {
    "equal-step", 5, "which MoE trains as fast as a dense model? tokens each gets from one budget", setup};
}  // namespace commands
}  // namespace tw
