// trainwright validate: predictions held against published or measured steps, study by study.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "planner/answer_files.hpp"
#include "planner/command.hpp"
#include "planner/options.hpp"
#include "planner/output.hpp"
#include "planner/validate/print.hpp"
#include "planner/validate/refit.hpp"
#include "planner/validate/study_print.hpp"
#include "planner/validate/validate_rows.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

struct Options {
  std::string rows, study;
  AnswerFiles files;
  validate::Settings settings;
  bool list_rows = false, markdown = false, refit = false, studies = false, quiet = false;
};

// A bad name is a bad option, not a fault of every row.
void check_names(const validate::Settings& settings) {
  if (!settings.framework.empty()) scenario_path("frameworks", settings.framework);
  if (!settings.calibration.empty()) scenario_path("calibrations", settings.calibration);
}

// Of the list in scenarios/published/fitted.json; what it prints is for whoever edits the files.
int refit(const std::vector<validate::Row>& rows, const std::string& json) {
  const validate::FittedList now = validate::load_fitted();
  const validate::FittedList fitted = validate::refit(rows, now, [](const std::string& line) {
    if (::isatty(STDERR_FILENO)) std::fputs((line + "\n").c_str(), stderr);
  });
  if (!json.empty()) write_output("--json", json, to_json(fitted).dump() + "\n");
  if (json != "-") print(text_of(now, fitted));
  return kAnswered;
}

// Questions bring their own frameworks and clusters.
int run_studies(const Options& o) {
  const bool rows_only = !o.rows.empty() || !o.settings.framework.empty() || !o.settings.calibration.empty();
  if (rows_only || o.list_rows || o.markdown || o.refit)
    throw InputError("command line", "--studies", "goes with --study, --json and --quiet only");
  const std::vector<validate::AnsweredStudy> answered = validate::answer_studies(o.study);
  if (answered.empty())
    throw InputError("command line", "--study",
                     "no name of scenarios/studies contains \"" + printable(o.study) + "\"");
  o.files.write(validate::json_of(answered));
  if (!o.files.alone()) print(validate::text_of(answered));
  return kAnswered;
}

int run(const Options& o) {
  o.files.check();
  if (o.studies) return run_studies(o);
  check_names(o.settings);
  const std::string path = o.rows.empty() ? scenarios_folder() + "/published/steps.json" : o.rows;
  const std::vector<validate::Row> rows = validate::read_rows(load_json(path));
  if (o.refit) return refit(rows, o.files.json);
  validate::ValidateResult result = validate::validate_rows(rows, o.settings, o.study);
  if (result.rows.empty()) {
    const std::string why =
        rows.empty() ? "the file has no rows" : "no row's source contains \"" + printable(o.study) + "\"";
    throw InputError(o.rows.empty() ? "published rows" : path, "", why);
  }
  result.rows_file = o.rows.empty() ? "published" : o.rows;
  o.files.write(json_of(result));
  if (!o.files.alone()) print(o.markdown ? markdown_of(result) : text_of(result, o.list_rows));
  return kAnswered;
}

std::function<int()> setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  text_option(app, "--rows", o->rows,
              "R.json: rows to hold predictions against; left out: every published row that is shipped");
  add_options(app, o->files, "FILE: rows, studies and overall as JSON; - for standard output");
  text_option(app, "--framework", o->settings.framework,
              "F: one profile for all rows; left out: each row's own, by its source");
  text_option(app, "--calibration", o->settings.calibration, "K: left out: the one of each row's GPU");
  text_option(app, "--study", o->study,
              "NAME: only rows whose source contains it; with --studies, only questions whose name does");
  app.add_flag("--studies", o->studies,
               "instead of rows, the questions of scenarios/studies: which is better and why, predicted "
               "against published");
  app.add_flag("--list-rows", o->list_rows, "also one line per row");
  app.add_flag("--markdown", o->markdown, "the scoreboard as the table of README.md");
  app.add_flag(
      "--refit", o->refit,
      "fit the constants of scenarios/published/fitted.json to the rows anew, each study left out in "
      "turn, and print them (minutes; writes no file of scenarios/; --json FILE: the list as fitted)");
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
