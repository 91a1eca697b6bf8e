// What-if: the best step at every point, where the winner changes and which resource binds.
#include <fmt/format.h>

#include "reports/section.hpp"
#include "reports/text.hpp"

namespace tw {
namespace {

std::vector<std::string> axes_of(const JsonView& result) {
  std::vector<std::string> out;
  const JsonView axes = result.at("axes");
  for (std::size_t i = 0; i < axes.size(); ++i) out.push_back(axes[i].string());
  return out;
}

// The values of the axes from `from` on: "50 GB/s, 8".
std::string values_text(const JsonView& values, const std::vector<std::string>& axes, std::size_t from) {
  std::string out;
  for (std::size_t i = from; i < axes.size(); ++i)
    out += (out.empty() ? "" : ", ") + values.at(axes[i]).string();
  return out;
}

// "inter_bandwidth, hbm_size": the axes beyond the first.
std::string rest_title(const std::vector<std::string>& axes) {
  std::string out;
  for (std::size_t i = 1; i < axes.size(); ++i) out += (i > 1 ? ", " : "") + axes[i];
  return out;
}

std::string binding(const JsonView& point) {
  const JsonView resources = point.at("exposed_seconds");
  std::string most;
  for (const std::string& name : resources.keys()) {
    if (most.empty() || number_at(resources, name) > number_at(resources, most)) most = name;
  }
  return most;
}

DataTable points_of(const JsonView& points, const std::vector<std::string>& axes) {
  DataTable out({{"first", axes[0]},
                 {"rest", axes.size() > 1 ? rest_title(axes) : "point"},
                 {"step", "step", Show::seconds},
                 {"label", "step, rounded"},
                 {"mfu", "MFU", Show::percent},
                 {"peak", "peak GiB", Show::gib},
                 {"binds", "waits most for"},
                 {"layout", "layout"}});
  for (std::size_t i = 0; i < points.size(); ++i) {
    const JsonView values = points[i].at("values");
    const std::string first = values.at(axes[0]).string();
    const std::string rest = axes.size() > 1 ? values_text(values, axes, 1) : "best step";
    if (const auto best = points[i].find("best")) {
      const double step = number_at(*best, "step_time_s");
      out.row({first, rest, step, seconds_text(step), number_at(*best, "mfu"),
               number_at(best->at("memory_gib"), "peak"), binding(points[i]), best->at("layout").string()});
    } else {
      out.row({first, rest, Cell(), std::string("none fits"), Cell(), Cell(), std::string(),
               points[i].at("why_not").string()});
    }
  }
  return out;
}

Json surface_marks(const std::vector<std::string>& axes) {
  Json x = Json::parsed(
      R"vega({"field": "first", "type": "ordinal", "sort": null, "axis": {"labelAngle": 0}})vega");
  Json y = Json::parsed(R"vega({"field": "rest", "type": "ordinal", "sort": null})vega");
  x.set("title", axes[0]);
  y.set("title", rest_title(axes));
  Json out = Json::parsed(R"vega({
    "layer": [
      {"mark": {"type": "rect", "stroke": "var(--paper)", "strokeWidth": 1},
       "encoding": {"color": {"field": "step", "type": "quantitative", "legend": null,
                              "scale": {"range": ["#e3eefc", "#7fb0ee"]}}}},
      {"mark": {"type": "text", "fontSize": 12, "dy": -7},
       "encoding": {"text": {"field": "label"}, "color": {"value": "#10151c"}}},
      {"mark": {"type": "text", "fontSize": 10, "dy": 8},
       "encoding": {"text": {"field": "binds"}, "color": {"value": "#10151c"}}}]})vega");
  return out.set("encoding", Json::object().set("x", x).set("y", y));
}

DataTable resources_of(const JsonView& points, const std::vector<std::string>& axes) {
  DataTable out({{"point", "point"}, {"resource", "resource"}, {"seconds", "exposed", Show::seconds}});
  for (std::size_t i = 0; i < points.size(); ++i) {
    const auto resources = points[i].find("exposed_seconds");
    if (!resources) continue;
    for (const std::string& name : resources->keys()) {
      const double seconds = number_at(*resources, name);
      if (seconds != 0) out.row({values_text(points[i].at("values"), axes, 0), name, seconds});
    }
  }
  return out;
}

Json resource_marks() {
  return Json::parsed(R"vega({
    "mark": "bar",
    "encoding": {"y": {"field": "point", "type": "nominal", "sort": null, "title": null},
                 "x": {"field": "seconds", "type": "quantitative", "title": "seconds that the step waits"},
                 "color": {"field": "resource", "type": "nominal", "sort": null}}})vega");
}

DataTable changes_of(const JsonView& changes, const std::vector<std::string>& axes) {
  DataTable out({{"from", "from"}, {"to", "to"}, {"keys", "the winner changes"}, {"why", "why"}});
  for (std::size_t i = 0; i < changes.size(); ++i) {
    out.row({values_text(changes[i].at("from"), axes, 0), values_text(changes[i].at("to"), axes, 0),
             changes[i].at("keys").string(), changes[i].at("in_words").string()});
  }
  return out;
}

std::vector<Piece> build(const JsonView& result) {
  if (kind_of(result) != "whatif") return {};
  const std::vector<std::string> axes = axes_of(result);
  if (axes.empty()) result.at("axes").fail("must name what was varied");
  const JsonView points = result.at("points"), changes = result.at("changes");
  const DataTable table = points_of(points, axes);
  std::vector<Piece> out = {
      Chart{"The best step at every point, and what it waits for most", "Seconds per step at every point",
            table, surface_marks(axes), 44, "rest", true},
      Chart{"What the step waits for, by resource", "Exposed seconds by resource at every point",
            resources_of(points, axes), resource_marks(), 18, "point"}};
  if (changes.size() > 0)
    out.push_back(Listed{"Where the winner changes between neighbours, and why", changes_of(changes, axes)});
  else
    out.push_back("The same layout wins at every point.");
  return out;
}

}  // namespace

namespace sections {
extern constinit const Section surface;
constinit const Section surface = {"surface", 0, "What if", build};
}  // namespace sections
}  // namespace tw
