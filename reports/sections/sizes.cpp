// How many GPUs: days and dollars of every number of them, of a size result.
#include <fmt/format.h>

#include "reports/section.hpp"
#include "reports/text.hpp"

namespace tw {
namespace {

std::string standing(const JsonView& result, const JsonView& row) {
  const auto is = [&](std::string_view key) {
    const auto gpus = result.find(key);
    return gpus && gpus->integer() == row.at("gpus").integer();
  };
  if (is("cheapest_gpus")) return "the answer";
  if (is("fastest_gpus")) return "fastest inside the limits";
  return row.at("pareto").boolean() ? "no other is better in all" : "another is better in all";
}

DataTable rows_of(const JsonView& result) {
  DataTable out({{"gpus", "GPUs", Show::count},
                 {"standing", "standing"},
                 {"days", "days", Show::days},
                 {"cost", "cost", Show::dollars},
                 {"hours", "GPU-hours", Show::gpu_hours},
                 {"goodput", "goodput", Show::percent},
                 {"spares", "spare nodes", Show::count},
                 {"energy", "MWh", Show::number},
                 {"layout", "layout"}});
  const JsonView rows = result.at("rows");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const JsonView row = rows[i];
    if (!row.at("feasible").boolean()) continue;
    out.row({number_at(row, "gpus"), standing(result, row), number_at(row, "days"), cell_at(row, "cost_usd"),
             number_at(row, "gpu_hours"), number_at(row, "goodput"), number_at(row, "spare_nodes"),
             cell_at(row, "energy_mwh"), row.at("phases")[0].at("parts")[0].at("layout").string()});
  }
  return out;
}

Json axis(std::string_view field, std::string_view title) {
  Json out = Json::parsed(R"vega({"type": "quantitative", "axis": {"format": ",.3~r"},
                                   "scale": {"type": "log", "nice": false, "padding": 8}})vega");
  return out.set("field", field).set("title", title);
}

Json marks(const Json& x, const Json& y) {
  Json line = Json::object().set("x", x).set("y", y);
  Json point = line;
  line.set("order", Json::object().set("field", "gpus"));
  point.set("color", Json::parsed(R"vega({"field": "standing", "type": "nominal", "sort": null,
                                          "legend": {"columns": 1, "labelLimit": 220}})vega"));
  Json layers = Json::array();
  layers.push(
      Json::parsed(R"vega({"mark": {"type": "line", "color": "var(--faint)"}})vega").set("encoding", line));
  layers.push(Json::parsed(R"vega({"mark": {"type": "point", "size": 90}})vega").set("encoding", point));
  return Json::object().set("layer", layers);
}

// Ticks at the numbers of GPUs that were asked for.
Json gpus_axis(const JsonView& rows) {
  Json values = Json::array();
  for (std::size_t i = 0; i < rows.size(); ++i) values.push(number_at(rows[i], "gpus"));
  return axis("gpus", "GPUs").set("axis", Json::object().set("values", values));
}

DataTable impossible(const JsonView& rows) {
  DataTable out({{"gpus", "GPUs", Show::count}, {"why", "why not"}});
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].at("feasible").boolean())
      out.row({number_at(rows[i], "gpus"), rows[i].at("why_not").string()});
  }
  return out;
}

DataTable published_of(const JsonView& list) {
  DataTable out({{"title", "published run"},
                 {"gpus", "GPUs", Show::count},
                 {"hours", "GPU-hours published", Show::gpu_hours},
                 {"effective", "effective time published", Show::percent},
                 {"source", "source"}});
  for (std::size_t i = 0; i < list.size(); ++i) {
    out.row({list[i].at("title").string(), number_at(list[i], "gpus"), cell_at(list[i], "gpu_hours"),
             cell_at(list[i], "effective_time"), list[i].at("source").string()});
  }
  return out;
}

// GPU-hours of each term, of our best layout and of the published one.
DataTable hours_of(const JsonView& run) {
  DataTable out({{"term", "term"}, {"which", "layout"}, {"hours", "GPU-hours", Show::gpu_hours}});
  const auto terms = run.find("hours_by_term");
  for (std::size_t i = 0; terms && i < terms->size(); ++i) {
    const JsonView term = (*terms)[i];
    out.row({term.at("name").string(), std::string("best"), number_at(term, "best_gpu_hours")});
    out.row(
        {term.at("name").string(), std::string("published"), number_at(term, "published_layout_gpu_hours")});
  }
  return out;
}

Json hours_marks() {
  return Json::parsed(R"vega({
    "mark": "bar",
    "encoding": {"y": {"field": "term", "type": "nominal", "sort": null, "title": null},
                 "yOffset": {"field": "which", "sort": null},
                 "x": {"field": "hours", "type": "quantitative", "title": "GPU-hours without failures"},
                 "color": {"field": "which", "type": "nominal", "sort": null}}})vega");
}

constexpr int kHeight = 260;

void add_published(const JsonView& list, std::vector<Piece>& out) {
  if (list.size() == 0) return;
  out.push_back(Listed{"Published runs of this model on as many GPUs", published_of(list)});
  for (std::size_t i = 0; i < list.size(); ++i) {
    const DataTable hours = hours_of(list[i]);
    if (!hours.empty())
      out.push_back(Chart{"GPU-hours by term: the best layout, and that of " + list[i].at("title").string(),
                          "Bars of GPU-hours by term for two layouts", hours, hours_marks(), 20, "term"});
  }
}

std::vector<Piece> build(const JsonView& result) {
  if (kind_of(result) != "size") return {};
  std::vector<Piece> out;
  const JsonView nearest = result.at("nearest"), rows = result.at("rows");
  for (std::size_t i = 0; i < nearest.size(); ++i) out.push_back(nearest[i].string() + ".");
  const DataTable table = rows_of(result);
  if (!table.empty()) {
    out.push_back(Chart{"Days by number of GPUs, failures included",
                        "Days against GPUs, both on log scales",
                        table,
                        marks(gpus_axis(rows), axis("days", "days")),
                        kHeight,
                        {},
                        true});
    if (result.find("price_usd_per_gpu_hour"))
      out.push_back(Chart{"Days against dollars: down and to the left is better",
                          "Days against cost for each number of GPUs", table,
                          marks(axis("cost", "USD"), axis("days", "days")), kHeight});
  }
  if (const auto next = result.find("next")) out.push_back(next->at("in_words").string() + ".");
  DataTable none = impossible(rows);
  if (!none.empty()) out.push_back(Listed{"Numbers of GPUs that allow no layout", std::move(none)});
  add_published(result.at("published"), out);
  return out;
}

}  // namespace

namespace sections {
extern constinit const Section sizes;
constinit const Section sizes = {"sizes", 0, "GPUs, days and dollars", build};
}  // namespace sections
}  // namespace tw
