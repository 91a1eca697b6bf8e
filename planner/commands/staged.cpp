// trainwright staged: what training in stages on cheaper GPUs saves, waiting billed.
#include <CLI/CLI.hpp>

#include "planner/answer_files.hpp"
#include "planner/command.hpp"
#include "planner/economics/staged.hpp"
#include "planner/options.hpp"
#include "planner/output.hpp"

namespace tw {
namespace {

struct Options {
  std::string stages = "moe-disco";
  AnswerFiles files;
  bool quiet = false;
};

int run(const Options& o) {
  o.files.check();
  const StagedResult result = staged(o.stages);
  o.files.write(to_json(result));
  if (!o.files.alone()) print(to_text(result, terminal_of(1), o.quiet));
  return kAnswered;
}

std::function<int()> setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  text_option(
      app, "--stages", o->stages,
      "S: a file, or a name of scenarios/staged: rows of a baseline and its stages, each with GPUs, times "
      "and prices");
  add_options(app, o->files, "FILE: the result as JSON; - for standard output");
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
