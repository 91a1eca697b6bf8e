// A plan over several numbers of GPUs: what each further step buys.
#include "reports/section.hpp"

namespace tw {
namespace {

DataTable rows_of(const JsonView& counts) {
  DataTable out({{"gpus", "GPUs", Show::count},
                 {"step", "step", Show::seconds},
                 {"ideal", "step if the first scaled perfectly", Show::seconds},
                 {"efficiency", "efficiency over the first", Show::percent},
                 {"layout", "layout"}});
  double first_gpus = 0, first_step = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double gpus = number_at(counts[i], "gpus");
    const JsonView layouts = counts[i].at("layouts");
    if (layouts.size() == 0) continue;
    const double step = number_at(layouts[0], "step_time_s");
    if (first_gpus == 0) first_gpus = gpus, first_step = step;
    const double ideal = first_step * first_gpus / gpus;
    out.row({gpus, step, ideal, ideal / step, layouts[0].at("layout").string()});
  }
  return out;
}

std::vector<Piece> build(const JsonView& result) {
  const auto counts = result.find("counts");
  if (kind_of(result) != "plan" || !counts) return {};
  DataTable table = rows_of(*counts);
  if (table.empty()) return {};
  Json marks = Json::parsed(R"vega({
    "encoding": {"x": {"field": "gpus", "type": "quantitative", "title": "GPUs", "scale": {"type": "log", "nice": false}}},
    "layer": [
      {"mark": {"type": "line", "strokeDash": [5, 4], "color": "var(--soft)"},
       "encoding": {"y": {"field": "ideal", "type": "quantitative", "scale": {"type": "log", "nice": false},
                          "title": "seconds per step; dashed: perfect scaling"}}},
      {"mark": {"type": "line", "point": {"color": "var(--c1)"}},
       "encoding": {"y": {"field": "step", "type": "quantitative", "scale": {"type": "log", "nice": false}}}}]})vega");
  return {Chart{"The best step by number of GPUs",
                "Seconds per step against GPUs, both on log scales",
                table,
                marks,
                240,
                {},
                true}};
}

}  // namespace

namespace sections {
extern constinit const Section counts;
constinit const Section counts = {"counts", 1, "Numbers of GPUs", build};
}  // namespace sections
}  // namespace tw
