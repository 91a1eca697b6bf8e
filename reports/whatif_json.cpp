#include "reports/json_parts.hpp"
#include "reports/whatif_result.hpp"

namespace tw {
namespace {

constexpr std::string_view kWhatifSchema = "trainwright.whatif/1";

Json values_json(const WhatifResult& r, const WhatifPoint& point) {
  Json out = Json::object();
  for (std::size_t i = 0; i < r.axes.size(); ++i) out.set(r.axes[i], point.values[i]);
  return out;
}

Json point_json(const WhatifResult& r, const WhatifPoint& point) {
  Json out = Json::object().set("values", values_json(r, point)).set("gpus", point.gpus);
  out.set("gpus_per_node", point.gpus_per_node).set("searched", searched_json(point.searched));
  out.set("feasible", point.best.has_value());
  if (!point.best) return out.set("why_not", point.why_not);
  Json resources = Json::object(), prediction = Json::object();
  for (int i = 0; i < kResources; ++i)
    resources.set(name_of(static_cast<Resource>(i)), point.resources[static_cast<std::size_t>(i)]);
  add_prediction(prediction, *point.best);
  return out.set("exposed_seconds", resources).set("best", prediction);
}

Json change_json(const WhatifResult& r, const WinnerChange& change) {
  Json terms = Json::array();
  for (const TermDifference& term : change.behind.terms)
    terms.push(Json::object().set("name", name_of(term.term)).set("seconds", term.seconds));
  return Json::object()
      .set("axis", r.axes[change.axis])
      .set("from", values_json(r, r.points[change.from]))
      .set("to", values_json(r, r.points[change.to]))
      .set("keys", change.keys)
      .set("old_fits", change.old_fits)
      .set("old_behind_s", change.behind.seconds)
      .set("distinguishable", change.behind.distinguishable)
      .set("terms", terms)
      .set("in_words", behind_text(change));
}

}  // namespace

std::string_view name_of(Resource resource) {
  constexpr std::string_view names[] = {"compute",  "memory_rate", "nvlink",    "network",
                                        "pipeline", "host",        "stragglers"};
  return names[static_cast<std::size_t>(resource)];
}

Json to_json(const WhatifResult& r) {
  Json out = Json::object().set("schema", kWhatifSchema);
  add_question(out, r.question);
  Json axes = Json::array(), points = Json::array(), changes = Json::array();
  for (const std::string& axis : r.axes) axes.push(axis);
  for (const WhatifPoint& point : r.points) points.push(point_json(r, point));
  for (const WinnerChange& change : r.changes) changes.push(change_json(r, change));
  return out.set("fixed", r.fixed)
      .set("answer", answer_of(r))
      .set("axes", axes)
      .set("points", points)
      .set("changes", changes)
      .set("seconds", r.seconds);
}

}  // namespace tw
