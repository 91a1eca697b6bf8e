// Device memory of the recommended layout by part and stage, against the limit.
#include <fmt/format.h>

#include <cmath>

#include "reports/section.hpp"

namespace tw {
namespace {

DataTable parts_of(const JsonView& stages) {
  DataTable out({{"stage", "stage", Show::count}, {"part", "part"}, {"gib", "GiB", Show::gib}});
  for (std::size_t s = 0; s < stages.size(); ++s) {
    const JsonView memory = stages[s].at("memory_gib");
    for (const std::string& part : memory.keys()) {
      const double gib = number_at(memory, part);
      if (part != "peak" && gib > 0) out.row({static_cast<double>(s), part, gib});
    }
  }
  return out;
}

// The rule has a row of its own.
Json marks(double limit) {
  Json bars = Json::parsed(R"vega({
    "mark": "bar",
    "encoding": {"x": {"field": "stage", "type": "ordinal", "title": "pipeline stage", "axis": {"labelAngle": 0}},
                 "y": {"field": "gib", "type": "quantitative", "title": "GiB per GPU at the stage's peak"},
                 "color": {"field": "part", "type": "nominal", "sort": null}}})vega");
  Json rule = Json::parsed(R"vega({
    "mark": {"type": "rule", "color": "var(--c4)", "strokeWidth": 2, "strokeDash": [6, 3]},
    "encoding": {"y": {"field": "limit", "type": "quantitative"}}})vega");
  Json row = Json::array().push(Json::object().set("limit", limit));
  rule.set("data", Json::object().set("values", row));
  return Json::object().set("layer", Json::array().push(bars).push(rule));
}

std::vector<Piece> build(const JsonView& result) {
  const auto winner = winner_of(result);
  if (!winner) return {};
  const JsonView p = winner->prediction, stages = p.at("stages");
  if (stages.size() == 0) return {};
  const double limit = number_at(p, "memory_limit_gib"), peak = number_at(p.at("memory_gib"), "peak");
  return {fmt::format("The fullest stage, {}, peaks at {:.1f} of {:.1f} GiB usable: {:.1f} GiB {}.",
                      p.at("worst_stage").integer(), peak, limit, std::abs(limit - peak),
                      peak > limit ? "too much" : "free"),
          Chart{"Memory of each stage by part; the dashed line is what a layout may use",
                fmt::format("Stacked bars of memory for {} stages against a limit of {:.1f} GiB",
                            stages.size(), limit),
                parts_of(stages), marks(limit), 240}};
}

}  // namespace

namespace sections {
extern constinit const Section memory;
constinit const Section memory = {"memory", 3, "Memory", build};
}  // namespace sections
}  // namespace tw
