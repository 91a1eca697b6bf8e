#include "reports/json_parts.hpp"
#include "reports/size_result.hpp"

namespace tw {
namespace {

constexpr std::string_view kSizeSchema = "trainwright.size/1";

template <class T, class Print>
Json optional_json(const std::optional<T>& value, Print print) {
  return value ? Json(print(*value)) : Json();
}

double usd(Dollars dollars) {
  return dollars.value;
}

Json part_json(const SizePart& part) {
  Json out = Json::object()
                 .set("tokens", part.tokens)
                 .set("global_batch", part.global_batch)
                 .set("steps", part.steps)
                 .set("layout", to_string(part.best.layout))
                 .set("step_time_s", part.best.cost.step_seconds)
                 .set("checkpoint_gib", in_gib(part.checkpoint))
                 .set("checkpoint_write_s", part.write.value)
                 .set("checkpoint_interval_s", part.interval.value)
                 .set("checkpoint_interval_young_s", part.young_interval.value)
                 .set("goodput", part.goodput)
                 .set("days_without_failures", in_days(part.steps_time))
                 .set("days", in_days(part.time));
  Json prediction = Json::object();
  add_prediction(prediction, part.best);
  return out.set("prediction", prediction);
}

Json phases_json(const SizeRow& row) {
  Json out = Json::array();
  for (const SizePhase& phase : row.phases) {
    Json parts = Json::array();
    for (const SizePart& part : phase.parts) parts.push(part_json(part));
    out.push(Json::object().set("name", phase.name).set("seq", phase.seq).set("parts", parts));
  }
  return out;
}

Json row_json(const SizeRow& row) {
  Json out = Json::object().set("gpus", row.gpus).set("feasible", row.why_not.empty());
  out.set("searched", searched_json(row.searched));
  if (!row.why_not.empty())
    return out.set("why_not", row.why_not)
        .set("nearest_misses", near_misses_json(row.near_misses, row.limit));
  out.set("spare_nodes", row.spare_nodes).set("mtbf_h", in_hours(row.between));
  out.set("days_without_failures", in_days(row.steps_time)).set("days", in_days(row.time));
  out.set("goodput", row.goodput).set("waiting_for_repairs", row.waiting).set("stragglers", row.stragglers);
  out.set("gpu_hours", row.gpu_hours).set("cost_usd", optional_json(row.cost, usd));
  out.set("energy_mwh", optional_json(row.energy, in_mwh)).set("pareto", row.pareto);
  return out.set("phases", phases_json(row));
}

Json reliability_json(const Reliability& r) {
  const auto rate = [](BytesPerSec value) { return in_gbps(value); };
  const auto seconds = [](Seconds value) { return value.value; };
  Json sources = Json::array();
  for (const std::string& source : r.sources) sources.push(source);
  return Json::object()
      .set("mtbf_per_gpu_h", in_hours(r.mtbf_per_gpu))
      .set("detect_s", r.detect.value)
      .set("restart_s", r.restart.value)
      .set("storage_gb_per_s", optional_json(r.storage, rate))
      .set("storage_per_node_gb_per_s", optional_json(r.storage_per_node, rate))
      .set("repair_s", optional_json(r.repair, seconds))
      .set("sources", sources);
}

Json hours_json(const SizeRow& row, const PublishedBeside& p) {
  Json out = Json::array();
  for (const TermHours& term : hours_by_term(row, p)) {
    out.push(Json::object()
                 .set("name", name_of(term.term))
                 .set("best_gpu_hours", term.best)
                 .set("published_layout_gpu_hours", term.published));
  }
  return out;
}

Json published_json(const SizeRow& row, const PublishedBeside& p) {
  const auto same = [](double value) { return value; };
  Json out = Json::object().set("gpus", row.gpus).set("title", p.title).set("source", p.source);
  out.set("gpu_hours", optional_json(p.gpu_hours, same)).set("tokens_share", p.tokens_share);
  out.set("effective_time", optional_json(p.effective_time, same));
  if (!p.layout) return out;
  Json prediction = Json::object();
  add_question(prediction, p.question);
  add_prediction(prediction, *p.layout);
  return out.set("predicted", prediction).set("hours_by_term", hours_json(row, p));
}

Json gpus_json(const SizeResult& r, const std::optional<std::size_t>& row) {
  return row ? Json(r.rows[*row].gpus) : Json();
}

}  // namespace

Json to_json(const SizeResult& r) {
  Json out = Json::object().set("schema", kSizeSchema);
  add_question(out, r.question);
  out.set("fixed", r.fixed).set("tokens", r.tokens);
  out.set("deadline_d", optional_json(r.deadline, in_days)).set("budget_usd", optional_json(r.budget, usd));
  out.set("price_usd_per_gpu_hour", optional_json(r.price, in_usd_per_hour));
  out.set("reliability", reliability_json(r.reliability)).set("answer", r.answer);
  out.set("cheapest_gpus", gpus_json(r, r.cheapest)).set("fastest_gpus", gpus_json(r, r.fastest));
  Json nearest = Json::array(), rows = Json::array(), published = Json::array();
  for (const std::string& line : r.nearest) nearest.push(line);
  for (const SizeRow& row : r.rows) rows.push(row_json(row));
  for (const auto& [row, run] : r.published) published.push(published_json(r.rows[row], run));
  out.set("nearest", nearest).set("rows", rows).set("published", published);
  if (r.more)
    out.set("next", row_json(r.more->row).set("more_nodes", r.more->nodes).set("in_words", more_text(r)));
  return out;
}

}  // namespace tw
