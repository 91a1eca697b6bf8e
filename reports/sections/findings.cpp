// What check found: each finding by severity, the better layout, a measured step by term, the options read.
#include <fmt/format.h>

#include "reports/section.hpp"
#include "reports/text.hpp"

namespace tw {
namespace {

DataTable findings_of(const JsonView& findings) {
  DataTable out({{"severity", "severity"}, {"about", "about"}, {"text", "finding"}});
  for (const std::string_view severity : {"fail", "warn", "note"}) {
    for (std::size_t i = 0; i < findings.size(); ++i) {
      const JsonView each = findings[i];
      if (each.at("severity").string() == severity)
        out.row({std::string(severity), each.at("about").string(), each.at("text").string()});
    }
  }
  return out;
}

DataTable options_of(const JsonView& options) {
  DataTable out({{"name", "option"}, {"value", "value"}, {"class", "class"}});
  for (std::size_t i = 0; i < options.size(); ++i)
    out.row(
        {options[i].at("name").string(), options[i].at("value").string(), options[i].at("class").string()});
  return out;
}

// Two rows a term, so that bars stand side by side.
DataTable terms_of(const JsonView& terms) {
  DataTable out({{"term", "term"}, {"which", "which"}, {"seconds", "time of a step", Show::seconds}});
  for (std::size_t i = 0; i < terms.size(); ++i) {
    const std::string name = terms[i].at("name").string();
    out.row({name, std::string("measured"), number_at(terms[i], "measured_s")});
    out.row({name, std::string("predicted"), number_at(terms[i], "predicted_s")});
  }
  return out;
}

void add_measured(const JsonView& measured, std::vector<Piece>& out) {
  out.push_back(fmt::format("The measured step takes {}; predicted over measured {:.3f}, {} the 80% band.",
                            seconds_text(number_at(measured, "step_time_s")), number_at(measured, "ratio"),
                            measured.at("inside_band").boolean() ? "inside" : "outside"));
  const DataTable terms = terms_of(measured.at("terms"));
  if (terms.empty()) return;
  Json marks = Json::parsed(R"vega({
    "mark": "bar",
    "encoding": {"y": {"field": "term", "type": "nominal", "sort": null, "title": null},
                 "yOffset": {"field": "which"},
                 "x": {"field": "seconds", "type": "quantitative", "title": "seconds of a step"},
                 "color": {"field": "which", "type": "nominal", "sort": null}}})vega");
  out.push_back(Chart{"The profile's time by our terms, the largest difference first",
                      "Bars of measured and predicted time by term", terms, marks, 34, "term"});
}

std::vector<Piece> build(const JsonView& result) {
  if (kind_of(result) != "check") return {};
  std::vector<Piece> out;
  const DataTable findings = findings_of(result.at("findings"));
  if (!findings.empty()) out.push_back(Listed{"What was found, the worst first", findings});
  if (const auto better = result.find("better"))
    out.push_back(fmt::format("The nearest better layout, {}, steps in {}: {:.0f}% less.",
                              better->at("layout").string(), seconds_text(number_at(*better, "step_time_s")),
                              100 * number_at(*better, "gain")));
  if (const auto measured = result.find("measured")) add_measured(*measured, out);
  const DataTable options = options_of(result.at("options"));
  if (!options.empty())
    out.push_back(Listed{fmt::format("The {} options of the launch, by class", result.at("options").size()),
                         options, true});
  if (out.empty()) out.push_back("Nothing was found against it.");
  return out;
}

}  // namespace

namespace sections {
extern constinit const Section findings;
constinit const Section findings = {"findings", 0, "Findings", build};
}  // namespace sections
}  // namespace tw
