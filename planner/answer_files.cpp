#include "planner/answer_files.hpp"

#include <CLI/CLI.hpp>

#include "planner/options.hpp"
#include "planner/output.hpp"
#include "reports/page.hpp"
#include "reports/vega.hpp"
#include "topology/check.hpp"

namespace tw {

void AnswerFiles::check() const {
  check_output("--json", json);
  check_output("--report", report);
  if (report.empty()) return;
  if (report == "-")
    throw InputError("command line", "--report", "needs a file; --json - writes to standard output");
  if (report == json) throw InputError("command line", "--report", "and --json name the same file; give two");
  chart_library();
}

void AnswerFiles::write(const Json& result) const {
  const std::string text = json.empty() && report.empty() ? std::string() : result.dump() + "\n";
  if (!json.empty()) write_output("--json", json, text);
  if (!report.empty()) write_output("--report", report, page_of({parse_json(text, "the result")}));
}

void add_options(CLI::App& app, AnswerFiles& files, const std::string& json_help) {
  text_option(app, "--json", files.json, json_help);
  text_option(app, "--report", files.report,
              "FILE.html: the result as one page with its charts, which opens without a network");
}

}  // namespace tw
