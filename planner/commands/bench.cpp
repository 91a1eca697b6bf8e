// trainwright bench: the fixed suite and its signature.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "planner/command.hpp"
#include "planner/options.hpp"
#include "planner/output.hpp"
#include "planner/suite.hpp"
#include "reports/text.hpp"
#include "topology/json.hpp"

namespace tw {
namespace {

struct Options {
  std::string json;
  bool quiet = false;
};

Json json_of(const std::vector<SuiteRow>& rows) {
  Json list = Json::array();
  for (const SuiteRow& row : rows) {
    list.push(Json::object()
                  .set("problem", row.problem)
                  .set("legal", row.searched.legal)
                  .set("evaluated", row.searched.evaluated)
                  .set("pruned_by_bound", row.searched.pruned_by_bound)
                  .set("seconds", row.searched.seconds)
                  .set("layout", row.best)
                  .set("step_time_s", row.step_seconds)
                  .set("signature", row.signature));
  }
  return Json::object()
      .set("schema", "trainwright.bench/1")
      .set("rows", list)
      .set("signature", signature_of(rows));
}

std::string text_of(const std::vector<SuiteRow>& rows, int width) {
  Table table({{"problem", Align::left},
               {"layouts"},
               {"predicted"},
               {"pruned"},
               {"best step"},
               {"seconds", Align::right, 2},
               {"layouts/s", Align::right, 3},
               {"signature", Align::left, 1}});
  std::int64_t layouts = 0, predicted = 0, pruned = 0;
  double seconds = 0;
  for (const SuiteRow& row : rows) {
    const Searched& s = row.searched;
    layouts += s.legal, predicted += s.evaluated, pruned += s.pruned_by_bound, seconds += s.seconds;
    table.row({row.problem, count_text(s.legal), count_text(s.evaluated), count_text(s.pruned_by_bound),
               row.best.empty() ? "-" : seconds_text(row.step_seconds), fmt::format("{:.2f}", s.seconds),
               count_text(static_cast<std::int64_t>(static_cast<double>(s.legal) / s.seconds)),
               row.signature});
  }
  table.row({"all", count_text(layouts), count_text(predicted), count_text(pruned), "",
             fmt::format("{:.2f}", seconds),
             count_text(static_cast<std::int64_t>(static_cast<double>(layouts) / seconds)),
             signature_of(rows)});
  return table.text(width);
}

int run(const Options& o) {
  check_output("--json", o.json);
  std::vector<SuiteRow> rows;
  for (std::size_t i = 0; i < suite_problems().size(); ++i) rows.push_back(run_suite_problem(i));
  if (!o.json.empty()) write_output("--json", o.json, json_of(rows).dump() + "\n");
  if (o.json == "-") return kAnswered;
  if (!o.quiet) print(text_of(rows, terminal_of(1).width));
  print("signature " + signature_of(rows) + "\n");
  return kAnswered;
}

std::function<int()> setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  text_option(app, "--json", o->json, "FILE: the rows as JSON; - for standard output");
  app.add_flag("--quiet", o->quiet, "the signature alone");
  app.footer(
      "The signature covers the counts and the three best layouts of each problem with their step time "
      "and\npeak "
      "memory to 6 digits; it does not depend on the machine or its speed.");
  return [o] { return run(*o); };
}

}  // namespace

namespace commands {
extern constinit const Command bench;
constinit const Command bench = {"bench", 9, "the fixed suite of plans and its signature", setup};
}  // namespace commands
}  // namespace tw
