#include "reports/vega.hpp"

#include <array>
#include <filesystem>

#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace fs = std::filesystem;
namespace {

const Json& config() {
  static const Json out = Json::parsed(R"vega({
    "background": null,
    "font": "system-ui, sans-serif",
    "view": {"stroke": null},
    "bar": {"color": "var(--c1)"},
    "point": {"color": "var(--c1)", "filled": true, "size": 60},
    "line": {"color": "var(--c1)"},
    "rule": {"color": "var(--c1)"},
    "text": {"color": "var(--ink)"},
    "mark": {"tooltip": {"content": "data"}},
    "range": {"category": ["var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)", "var(--c5)", "var(--c6)",
                           "var(--c7)", "var(--c8)", "var(--c9)", "var(--c10)"]},
    "axis": {"domainColor": "var(--line)", "gridColor": "var(--line)", "tickColor": "var(--line)",
             "labelColor": "var(--ink)", "titleColor": "var(--soft)", "titleFontWeight": "normal",
             "labelFontSize": 11, "titleFontSize": 11, "labelLimit": 150, "labelOverlap": true},
    "axisY": {"grid": false},
    "legend": {"orient": "bottom", "columns": 3, "labelColor": "var(--ink)", "titleColor": "var(--soft)",
               "titleFontWeight": "normal", "labelFontSize": 11, "labelLimit": 110, "title": null}
  })vega");
  return out;
}

// Where npm puts them, above the program; where an installation does.
constexpr std::array<std::string_view, 3> kScripts = {
    "vega/build/vega.min.js", "vega-lite/build/vega-lite.min.js", "vega-embed/build/vega-embed.min.js"};

std::string find_library() {
  std::error_code error;
  for (fs::path folder = fs::path(scenarios_folder()).parent_path(); !folder.empty();
       folder = folder.parent_path()) {
    if (fs::exists(folder / "node_modules" / kScripts[0], error)) return (folder / "node_modules").string();
    if (folder == folder.root_path()) break;
  }
  throw InputError("--report", "",
                   "the chart library (Vega) is not installed; `make charts` in Trainwright's folder does");
}

}  // namespace

Json spec_of(const Chart& chart) {
  Json spec = chart.marks;
  spec.set("description", chart.says).set("config", config());
  spec.set("data", Json::object().set("values", chart.data.values())).set("width", "container");
  const std::size_t lines = chart.lines.empty() ? 1 : chart.data.distinct(chart.lines);
  spec.set("height", chart.height * static_cast<std::int64_t>(lines));
  return spec;
}

Json coloured(const DataTable& data, std::string_view key, std::initializer_list<Colour> colours) {
  Json domain = Json::array(), range = Json::array();
  for (const Colour& each : colours) {
    if (data.has(key, each.value)) domain.push(each.value), range.push(each.css);
  }
  Json out = Json::object().set("field", key).set("type", "nominal");
  return out.set("scale", Json::object().set("domain", domain).set("range", range));
}

std::string chart_library() {
  const std::string folder = find_library();
  std::string out;
  for (const std::string_view script : kScripts) out += read_file(folder + "/" + std::string(script)) + "\n";
  return out;
}

}  // namespace tw
