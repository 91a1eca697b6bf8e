// Predicted beside measured, of confirm and validate: the identity line, bands, and the scores.
#include <fmt/format.h>

#include <algorithm>

#include "reports/section.hpp"
#include "reports/text.hpp"

namespace tw {
namespace {

struct Run {
  std::string name, group;
  double predicted = 0, low = 0, high = 0, measured = 0;
  std::string note;
};

// Runs of a confirmation, or used rows that give a time.
std::vector<Run> runs_of(const JsonView& list, std::string_view name, std::string_view group) {
  std::vector<Run> out;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto predicted = list[i].find("predicted"), measured = list[i].find("measured");
    if (!predicted || !measured) continue;
    const auto seconds = number_if(*measured, "step_time_s");
    if (!seconds) continue;
    const auto of_group = list[i].find(group);
    out.push_back({list[i].at(name).string(),
                   of_group ? of_group->string() : "runs",
                   number_at(*predicted, "step_time_s"),
                   number_at(*predicted, "step_time_low_s"),
                   number_at(*predicted, "step_time_high_s"),
                   *seconds,
                   {}});
  }
  return out;
}

DataTable table_of(const std::vector<Run>& runs) {
  DataTable out({{"name", "run"},
                 {"group", "group"},
                 {"predicted", "predicted", Show::seconds},
                 {"low", "80% band from", Show::seconds},
                 {"high", "to", Show::seconds},
                 {"measured", "measured", Show::seconds},
                 {"error", "predicted over measured, less 1", Show::percent},
                 {"inside", "inside the band"}});
  for (const Run& run : runs) {
    const bool inside = run.measured >= run.low && run.measured <= run.high;
    out.row({run.name, run.group, run.predicted, run.low, run.high, run.measured,
             run.predicted / run.measured - 1, std::string(inside ? "yes" : "no")});
  }
  return out;
}

// The line where both are equal, and a tenth to either side.
Json identity(const std::vector<Run>& runs) {
  double low = runs.front().measured, high = low;
  for (const Run& run : runs)
    low = std::min({low, run.measured, run.predicted}), high = std::max({high, run.measured, run.predicted});
  Json rows = Json::array();
  for (const double at : {low, high})
    rows.push(
        Json::object().set("measured", at).set("equal", at).set("below", 0.9 * at).set("above", 1.1 * at));
  return Json::object().set("values", rows);
}

Json marks(const std::vector<Run>& runs) {
  Json area = Json::parsed(R"vega({
    "mark": {"type": "area", "color": "var(--faint)", "opacity": 0.5, "tooltip": null},
    "encoding": {"x": {"field": "measured", "type": "quantitative"},
                 "y": {"field": "below", "type": "quantitative"}, "y2": {"field": "above"}}})vega");
  Json line = Json::parsed(R"vega({
    "mark": {"type": "line", "color": "var(--soft)", "tooltip": null},
    "encoding": {"x": {"field": "measured", "type": "quantitative"},
                 "y": {"field": "equal", "type": "quantitative"}}})vega");
  Json bands = Json::parsed(R"vega({
    "mark": {"type": "rule", "opacity": 0.5},
    "encoding": {"x": {"field": "measured", "type": "quantitative"},
                 "y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"},
                 "color": {"field": "group", "type": "nominal"}}})vega");
  Json points = Json::parsed(R"vega({
    "mark": "point",
    "encoding": {"x": {"field": "measured", "type": "quantitative", "title": "measured seconds per step",
                       "scale": {"type": "log", "nice": false, "padding": 12}},
                 "y": {"field": "predicted", "type": "quantitative", "title": "predicted",
                       "scale": {"type": "log", "nice": false, "padding": 12}},
                 "color": {"field": "group", "type": "nominal", "legend": {"columns": 2, "labelLimit": 160}}}})vega");
  const Json both = identity(runs);
  area.set("data", both), line.set("data", both);
  return Json::object().set("layer", Json::array().push(area).push(line).push(bands).push(points));
}

// Of a confirmation: seconds of each term, predicted and measured, of every run that ended.
DataTable terms_of(const JsonView& layouts) {
  DataTable out({{"run", "run"},
                 {"term", "term"},
                 {"which", "which"},
                 {"seconds", "seconds", Show::seconds},
                 {"row", "of run"}});
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    const auto terms = layouts[i].find("terms");
    if (!terms) continue;
    for (std::size_t k = 0; k < terms->size(); ++k) {
      const JsonView term = (*terms)[k];
      const std::string name = term.at("name").string(), run = fmt::format("#{}", i + 1);
      out.row({run, name, std::string("predicted"), number_at(term, "predicted_s"), run + " " + name});
      out.row({run, name, std::string("measured"), number_at(term, "measured_s"), run + " " + name});
    }
  }
  return out;
}

Json term_marks() {
  return Json::parsed(R"vega({
    "mark": "bar",
    "encoding": {"y": {"field": "row", "type": "nominal", "sort": null, "title": null},
                 "yOffset": {"field": "which", "sort": null},
                 "x": {"field": "seconds", "type": "quantitative", "title": "seconds of a step"},
                 "color": {"field": "which", "type": "nominal", "sort": null}}})vega");
}

DataTable losses_of(const JsonView& layouts) {
  DataTable out({{"run", "run"}, {"step", "step", Show::count}, {"loss", "loss", Show::number}});
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    const auto measured = layouts[i].find("measured");
    if (!measured) continue;
    const JsonView losses = measured->at("loss");
    for (std::size_t k = 0; k < losses.size(); ++k)
      out.row({fmt::format("#{}", i + 1), static_cast<double>(k), losses[k].number()});
  }
  return out;
}

Json loss_marks() {
  return Json::parsed(R"vega({
    "mark": "line",
    "encoding": {"x": {"field": "step", "type": "quantitative", "title": "step"},
                 "y": {"field": "loss", "type": "quantitative", "title": "loss", "scale": {"zero": false}},
                 "color": {"field": "run", "type": "nominal"}}})vega");
}

DataTable studies_of(const JsonView& studies) {
  DataTable out({{"name", "study"},
                 {"used", "rows used", Show::count},
                 {"n", "of", Show::count},
                 {"mape", "time error, %", Show::number},
                 {"left_out", "constants fitted without it, %", Show::number},
                 {"worst", "worst, %", Show::number},
                 {"tau", "Kendall's tau", Show::number},
                 {"memory", "memory error, %", Show::number},
                 {"coverage", "inside the band, %", Show::number}});
  for (std::size_t i = 0; i < studies.size(); ++i) {
    const JsonView s = studies[i];
    const std::string name = s.at("name").string();
    out.row({name.empty() ? s.at("source").string() : name, number_at(s, "used"), number_at(s, "n"),
             cell_at(s, "time_mape"), cell_at(s, "left_out_mape"), cell_at(s, "time_worst"),
             cell_at(s, "kendall_tau"), cell_at(s, "memory_mape"), cell_at(s, "coverage")});
  }
  return out;
}

void add_scatter(const std::vector<Run>& runs, std::vector<Piece>& out) {
  if (runs.empty()) return;
  const auto inside = std::count_if(runs.begin(), runs.end(), [](const Run& run) {
    return run.measured >= run.low && run.measured <= run.high;
  });
  out.push_back(fmt::format("{} of {} measured steps lie inside their 80% bands.", inside, runs.size()));
  out.push_back(
      Chart{"Predicted against measured: the line is equality, its shade a tenth to either side, "
            "each rule the 80% band",
            fmt::format("Scatter of {} predicted and measured steps", runs.size()), table_of(runs),
            marks(runs), 340});
}

std::vector<Piece> of_confirm(const JsonView& result) {
  std::vector<Piece> out;
  const JsonView layouts = result.at("layouts");
  add_scatter(runs_of(layouts, "layout", "none"), out);
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    if (const auto failed = layouts[i].find("failed"))
      out.push_back(fmt::format("Run {} failed: {}", i + 1, failed->string()));
  }
  DataTable terms = terms_of(layouts), losses = losses_of(layouts);
  if (!terms.empty())
    out.push_back(Chart{"Where the time of each run goes", "Predicted and measured seconds by term and run",
                        std::move(terms), term_marks(), 18, "row"});
  if (!losses.empty())
    out.push_back(Chart{"The loss of each run", "Loss by step", std::move(losses), loss_marks(), 180});
  return out;
}

std::vector<Piece> build(const JsonView& result) {
  const std::string kind = kind_of(result);
  if (kind == "confirm") return of_confirm(result);
  if (kind != "validate") return {};
  std::vector<Piece> out;
  add_scatter(runs_of(result.at("rows"), "id", "group"), out);
  out.push_back(Listed{"By study", studies_of(result.at("studies"))});
  out.push_back(Listed{"By GPU, model and precision", studies_of(result.at("groups"))});
  return out;
}

}  // namespace

namespace sections {
extern constinit const Section measured;
constinit const Section measured = {"measured", 0, "Predicted and measured", build};
}  // namespace sections
}  // namespace tw
