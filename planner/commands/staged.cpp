// trainwright staged: what training in stages on cheaper GPUs saves, waiting billed.
#include <CLI/CLI.hpp>

#include "planner/command.hpp"
#include "planner/economics/staged.hpp"
#include "planner/options.hpp"
#include "planner/output.hpp"

namespace tw {
namespace {

struct Options {
  std::string stages = "moe-disco", json;
  bool quiet = false;
};

int run(const Options& o) {
  check_output("--json", o.json);
  const StagedResult result = staged(o.stages);
  if (!o.json.empty()) write_output("--json", o.json, to_json(result).dump() + "\n");
  if (o.json != "-") print(to_text(result, terminal_of(1), o.quiet));
  return kAnswered;
}

std::function<int()> setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  text_option(
      app, "--stages", o->stages,
      "S: a file, or a name of scenarios/staged: rows of a baseline and its stages, each with GPUs, times "
      "and prices");
  text_option(app, "--json", o->json, "FILE: the result as JSON; - for standard output");
  app.add_flag("--quiet", o->quiet, "the answer alone");
  app.footer("Example:\n  trainwright staged --stages moe-disco\nExit codes: 0 answered; 2 bad input");
  return [o] { return run(*o); };
}

}  // namespace

namespace commands {
extern constinit const Command staged;
constinit const Command staged = {"staged", 5, "what do stages on cheaper GPUs save, waiting billed?", setup};
}  // namespace commands
}  // namespace tw
