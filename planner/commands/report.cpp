// trainwright report: results as one page.
#include <CLI/CLI.hpp>

#include "planner/command.hpp"
#include "planner/options.hpp"
#include "planner/output.hpp"
#include "reports/page.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

struct Options {
  std::vector<std::string> results;
  std::string out;
};

int run(const Options& o) {
  check_output("--out", o.out);
  std::vector<JsonView> results;
  for (const std::string& path : o.results) results.push_back(load_json(path));
  write_output("--out", o.out, page_of(results));
  return kAnswered;
}

std::function<int()> setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("RESULT", o->results, "RESULT.json...: what --json of another command wrote")->required();
  text_option(app, "--out", o->out, "FILE.html: one page that opens without a network; - for standard output")
      ->required();
  app.footer(
      "Example:\n  trainwright plan --model mixtral-8x22b --cluster h100-sxm:128 --global-batch 256 --seq "
      "4096 --json plan.json\n  trainwright report plan.json --out plan.html\nExit codes: 0 written; 2 bad "
      "input");
  return [o] { return run(*o); };
}

}  // namespace

namespace commands {
extern constinit const Command report;
constinit const Command report = {"report", 8, "results as one page with their charts", setup};
}  // namespace commands
}  // namespace tw
