#include <fmt/format.h>

#include <cmath>

#include "reports/equal_step_result.hpp"
#include "reports/json_parts.hpp"
#include "reports/text.hpp"

namespace tw {
namespace {

constexpr std::string_view kEqualStepSchema = "trainwright.equal-step/1";

Json row_json(const EqualStepRow& row) {
  Json prediction = Json::object();
  add_prediction(prediction, row.best);
  return Json::object()
      .set("name", row.name)
      .set("ffn", row.ffn)
      .set("parameters", row.parameters.total)
      .set("active_parameters", row.parameters.active)
      .set("flops_per_token", row.flops_per_token)
      .set("tokens_by_time", row.tokens_by_time)
      .set("tokens_by_flops", row.tokens_by_flops)
      .set("best", prediction);
}

std::string billions(std::int64_t count) {
  return tokens_text(count);
}

std::string rows_table(const EqualStepResult& r, int width) {
  Table table({{"", Align::left},
               {"ffn"},
               {"parameters"},
               {"active"},
               {"step"},
               {"of dense"},
               {"MFU", Align::right, 2},
               {"tokens by time"},
               {"tokens by FLOPs"},
               {"layout", Align::left, 3}});
  const double dense = r.rows.front().best.cost.step_seconds;
  for (const EqualStepRow& row : r.rows) {
    table.row({row.name, count_text(row.ffn), billions(row.parameters.total), billions(row.parameters.active),
               seconds_text(row.best.cost.step_seconds),
               fmt::format("{:.3f}", row.best.cost.step_seconds / dense),
               fmt::format("{:.1f}%", 100 * row.best.mfu), tokens_text(std::llround(row.tokens_by_time)),
               tokens_text(std::llround(row.tokens_by_flops)), to_string(row.best.layout)});
  }
  return table.text(width);
}

std::string answer_of(const EqualStepResult& r) {
  if (!r.why_not.empty()) return "no MoE of the family has the step of the dense model: " + r.why_not;
  const EqualStepRow &dense = r.rows[0], &moe = r.rows[1];
  return fmt::format(
      "equal step: experts of {} ({} parameters, {} active) for {} dense; from {} GPU-hours the dense "
      "model gets {} tokens, the MoE {}",
      count_text(moe.ffn), billions(moe.parameters.total), billions(moe.parameters.active),
      billions(dense.parameters.total), hours_text(r.budget_gpu_hours),
      tokens_text(std::llround(dense.tokens_by_time)), tokens_text(std::llround(moe.tokens_by_time)));
}

}  // namespace

Json to_json(const EqualStepResult& r) {
  Json out = Json::object().set("schema", kEqualStepSchema);
  add_question(out, r.question);
  Json rows = Json::array(), assumptions = Json::array();
  for (const EqualStepRow& row : r.rows) rows.push(row_json(row));
  for (const std::string& line : r.assumptions) assumptions.push(line);
  return out.set("answer", answer_of(r))
      .set("budget_gpu_hours", r.budget_gpu_hours)
      .set("budget_tflop", in_millions(in_millions(r.budget_flops)))
      .set("rows", rows)
      .set("assumptions", assumptions)
      .set("why_not", r.why_not.empty() ? Json() : Json(r.why_not));
}

std::string to_text(const EqualStepResult& r, const Terminal& terminal, bool quiet) {
  const int width = terminal.width;
  std::string out = bold(wrapped(answer_of(r), width, 2), terminal);
  if (quiet || r.rows.empty()) return out;
  out += "\n" + rows_table(r, width) + "\nAssumptions\n";
  for (const std::string& line : r.assumptions) out += wrapped("  " + line, width, 4);
  return out;
}

}  // namespace tw
