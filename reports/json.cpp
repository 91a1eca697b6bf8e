#include "reports/json.hpp"

#include <algorithm>

#include "reports/json_parts.hpp"
#include "reports/text.hpp"

namespace tw {
namespace {

double gib_of(std::int64_t bytes) {
  return in_gib(Bytes(bytes));
}

Json memory_json(const MemoryUse& memory) {
  Json out = Json::object();
  out.set("peak", gib_of(memory.total()));
  for (int i = 0; i < kMemoryParts; ++i) {
    const auto part = static_cast<MemoryPart>(i);
    out.set(name_of(part), gib_of(memory[part]));
  }
  return out;
}

// Empty when the layout fits.
Json reasons_json(const Cost& cost, Bytes limit) {
  Json out = Json::array();
  if (cost.fits) return out;
  out.push(Json::object()
               .set("term", "memory")
               .set("needed", gib_of(cost.memory.total()))
               .set("available", in_gib(limit))
               .set("unit", "GiB")
               .set("stage", cost.worst_stage));
  return out;
}

Json terms_json(const std::vector<TermPrediction>& terms) {
  Json out = Json::array();
  for (const TermPrediction& term : terms) {
    if (term.seconds == 0 && term.exposed == 0) continue;
    out.push(Json::object()
                 .set("name", name_of(term.term))
                 .set("seconds", term.seconds)
                 .set("exposed_seconds", term.exposed)
                 .set("source", name_of(term.provenance))
                 .set("extrapolated", term.extrapolated));
  }
  return out;
}

Json stages_json(const std::vector<StageDetail>& stages) {
  Json out = Json::array();
  for (const StageDetail& stage : stages) {
    out.push(Json::object().set("memory_gib", memory_json(stage.memory)).set("time_s", stage.work));
  }
  return out;
}

Json pipeline_json(const PipeDetail& pipe) {
  Json chunks = Json::array();
  for (const ChunkTime& chunk : pipe.chunks) {
    Json one = Json::object().set("forward_s", chunk.forward).set("backward_s", chunk.backward);
    if (chunk.weight > 0) one.set("weight_s", chunk.weight);
    if (chunk.hidden > 0) one.set("hidden_s", chunk.hidden);
    chunks.push(one);
  }
  return Json::object().set("microbatches", pipe.microbatches).set("chunks", chunks).set("send_s", pipe.send);
}

Json band_json(const std::vector<BandPart>& band) {
  Json out = Json::array();
  for (const BandPart& part : band)
    out.push(Json::object().set("curve", part.name).set("spread_s", part.seconds));
  return out;
}

}  // namespace

void add_question(Json& out, const Question& q) {
  out.set("model", q.model).set("cluster", q.cluster).set("gpus", q.gpus).set("calibration", q.calibration);
  out.set("gpus_per_node", std::min(q.gpus_per_node, q.gpus)).set("nics_per_node", q.nics_per_node);
  out.set("calibration_source", q.calibration_source);
  out.set("framework", q.framework).set("precision", q.precision);
  out.set("global_batch", q.global_batch).set("seq", q.seq).set("headroom_gib", in_gib(q.headroom));
  out.set("expert_load", q.routing.max_over_mean).set("capacity_factor", q.routing.capacity_factor);
}

void add_prediction(Json& out, const Prediction& p) {
  out.set("layout", to_string(p.layout));
  out.set("feasible", p.cost.fits).set("reasons", reasons_json(p.cost, p.limit));
  out.set("step_time_s", p.cost.step_seconds).set("step_time_low_s", p.low_seconds);
  out.set("step_time_high_s", p.high_seconds);
  out.set("tokens_per_s", p.tokens_per_s).set("unique_tokens_per_s", p.unique_tokens_per_s);
  out.set("parameters", p.parameters.total).set("active_parameters", p.parameters.active);
  out.set("tokens_per_s_per_gpu", p.tokens_per_s_per_gpu).set("model_tflops_per_gpu", p.model_tflops_per_gpu);
  out.set("mfu", p.mfu).set("hfu", p.hfu);
  out.set("memory_gib", memory_json(p.cost.memory)).set("memory_limit_gib", in_gib(p.limit));
  out.set("worst_stage", p.cost.worst_stage).set("bottleneck_stage", p.cost.bottleneck_stage);
  out.set("stages", stages_json(p.stages)).set("terms", terms_json(p.terms));
  out.set("pipeline", pipeline_json(p.pipe)).set("band", band_json(p.band));
}

Json searched_json(const Searched& s) {
  return Json::object()
      .set("legal", s.legal)
      .set("evaluated", s.evaluated)
      .set("refused_by_memory", s.refused_by_memory)
      .set("pruned_by_bound", s.pruned_by_bound)
      .set("seconds", s.seconds)
      .set("proven", s.proven);
}

namespace {

Json behind_json(const Comparison& c, double first_seconds) {
  Json terms = Json::array();
  for (const TermDifference& term : c.terms) {
    terms.push(Json::object().set("name", name_of(term.term)).set("seconds", term.seconds));
  }
  return Json::object()
      .set("seconds", c.seconds)
      .set("spread_s", c.spread)
      .set("distinguishable", c.distinguishable)
      .set("terms", terms)
      .set("in_words", behind_text(c, first_seconds));
}

Json layouts_json(const Question& question, const CountResult& count) {
  Json out = Json::array();
  Question own = question;
  own.gpus = count.gpus;
  for (std::size_t i = 0; i < count.best.size(); ++i) {
    Json layout = Json::object().set("schema", kPredictSchema);
    add_question(layout, own);
    add_prediction(layout, count.best[i]);
    if (i < count.simulated.size()) layout.set("simulated_step_time_s", count.simulated[i]);
    if (i > 0) layout.set("behind_first", behind_json(count.behind[i], count.best[0].cost.step_seconds));
    out.push(layout);
  }
  return out;
}

}  // namespace

Json near_misses_json(const std::vector<NearMiss>& misses, Bytes limit) {
  Json out = Json::array();
  for (const NearMiss& miss : misses) {
    out.push(Json::object()
                 .set("layout", to_string(miss.layout))
                 .set("reasons", reasons_json(miss.cost, limit))
                 .set("memory_gib", memory_json(miss.cost.memory))
                 .set("step_time_s", miss.cost.step_seconds)
                 .set("fits_with", miss.remedy.empty() ? Json() : Json(miss.remedy))
                 .set("fits_with_step_time_s", miss.remedy.empty() ? Json() : Json(miss.remedy_seconds)));
  }
  return out;
}

namespace {

Json count_json(const Question& question, const CountResult& count) {
  Json out = Json::object().set("gpus", count.gpus).set("searched", searched_json(count.searched));
  if (!count.best.empty()) out.set("step_time_s", count.best.front().cost.step_seconds);
  return out.set("layouts", layouts_json(question, count))
      .set("nearest_misses", near_misses_json(count.near_misses, count.limit));
}

}  // namespace

Json to_json(const PredictResult& result) {
  Json out = Json::object().set("schema", kPredictSchema);
  add_question(out, result.question);
  out.set("answer", answer_of(result.prediction));
  add_prediction(out, result.prediction);
  Json notes = Json::array();
  for (const std::string& note : result.notes) notes.push(note);
  if (result.simulated_seconds > 0) out.set("simulated_step_time_s", result.simulated_seconds);
  return out.set("notes", notes);
}

Json to_json(const PlanResult& result) {
  const CountResult& answer = result.counts[result.answer];
  Question question = result.question;
  question.gpus = answer.gpus;
  Json out = Json::object().set("schema", kPlanSchema);
  add_question(out, question);
  out.set("answer", answer_of(answer));
  out.set("objective", result.objective).set("fixed", result.fixed).set("feasible", !answer.best.empty());
  out.set("searched", searched_json(answer.searched)).set("layouts", layouts_json(question, answer));
  out.set("nearest_misses", near_misses_json(answer.near_misses, answer.limit));
  if (!answer.nothing_legal.empty()) out.set("nothing_legal", answer.nothing_legal);
  if (result.counts.size() < 2) return out;
  Json counts = Json::array();
  for (const CountResult& count : result.counts) counts.push(count_json(question, count));
  return out.set("counts", counts);
}

}  // namespace tw
