// trainwright validate: predictions held against published or measured steps, study by study.
#include <CLI/CLI.hpp>

#include "planner/command.hpp"
#include "planner/options.hpp"
#include "planner/output.hpp"
#include "planner/validate/predict_row.hpp"
#include "planner/validate/print.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

struct Options {
  std::string rows, json, study;
  validate::Settings settings;
  bool list_rows = false, quiet = false;
};

// A bad name is a bad option, not a fault of every row.
void check_names(const validate::Settings& settings) {
  if (!settings.framework.empty()) scenario_path("frameworks", settings.framework);
  if (!settings.calibration.empty()) scenario_path("calibrations", settings.calibration);
}

int run(const Options& o) {
  check_output("--json", o.json);
  check_names(o.settings);
  const std::string path = o.rows.empty() ? scenarios_folder() + "/published/steps.json" : o.rows;
  const std::vector<validate::Row> rows = validate::read_rows(load_json(path));
  validate::ValidateResult result = validate::validate_rows(rows, o.settings, o.study);
  if (result.rows.empty()) {
    const std::string why =
        rows.empty() ? "the file has no rows" : "no row's source contains \"" + printable(o.study) + "\"";
    throw InputError(o.rows.empty() ? "published rows" : path, "", why);
  }
  result.rows_file = o.rows.empty() ? "published" : o.rows;
  if (!o.json.empty()) write_output("--json", o.json, json_of(result).dump() + "\n");
  if (o.json != "-") print(text_of(result, o.list_rows));
  return kAnswered;
}

std::function<int()> setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  text_option(app, "--rows", o->rows,
              "R.json: rows to hold predictions against; left out: every published row that is shipped");
  text_option(app, "--json", o->json, "FILE: rows, studies and overall as JSON; - for standard output");
  text_option(app, "--framework", o->settings.framework,
              "F: one profile for all rows; left out: each row's own, by its source");
  text_option(app, "--calibration", o->settings.calibration, "K: left out: the one of each row's GPU");
  text_option(app, "--study", o->study, "NAME: only rows whose source contains it");
  app.add_flag("--list-rows", o->list_rows, "also one line per row");
  app.add_flag("--quiet", o->quiet, "accepted everywhere; nothing is left out");
  app.footer(
      "Example:\n  trainwright validate --study \"Table 1\" --list-rows\nExit codes: 0 answered; 2 bad "
      "input");
  return [o] { return run(*o); };
}

}  // namespace

namespace commands {
extern constinit const Command validate;
constinit const Command validate = {
    "validate", 4, "how wrong is the model? predicted against published or measured steps", setup};
}  // namespace commands
}  // namespace tw
