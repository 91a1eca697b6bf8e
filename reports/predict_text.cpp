#include <fmt/format.h>

#include "reports/text.hpp"

namespace tw {
namespace {

std::string fits_text(const Prediction& p) {
  const std::int64_t peak = p.cost.memory.total();
  const std::string peak_text = gib_text(peak), limit = gib_text(p.limit.count);
  if (p.cost.fits) {
    return fmt::format("fits: peak {} of {} usable, {} free, on stage {}", peak_text, limit,
                       gib_text(p.limit.count - peak), p.cost.worst_stage);
  }
  return fmt::format("does not fit: needs {}, {} usable, {} over, on stage {}", peak_text, limit,
                     gib_text(peak - p.limit.count), p.cost.worst_stage);
}

}  // namespace

std::string answer_of(const Prediction& p) {
  return fmt::format(
      "step {} (80% band {} to {}), {} tokens/s/GPU, MFU {:.1f}%; {}", seconds_text(p.cost.step_seconds),
      seconds_text(p.low_seconds), seconds_text(p.high_seconds),
      count_text(static_cast<std::int64_t>(p.tokens_per_s_per_gpu)), 100 * p.mfu, fits_text(p));
}

namespace {

std::string question_text(const Question& q, const Prediction& p) {
  const Job job{nullptr, q.global_batch, q.seq, q.gpus};
  return fmt::format(
      "{} ({} parameters, {} active) on {} x {}, {} sequences of {} tokens, {} micro-batches per rank",
      q.model, count_text(p.parameters.total), count_text(p.parameters.active), q.gpus, q.cluster,
      q.global_batch, q.seq, microbatches(p.layout, job));
}

std::string time_table(const Prediction& p, int width) {
  Table table({{"term", Align::left},
               {"waits"},
               {"of step"},
               {"busy"},
               {"source", Align::left, 1},
               {"what it is", Align::left, 2}});
  for (const TermPrediction& term : p.terms) {
    if (term.seconds == 0 && term.exposed == 0) continue;
    table.row({std::string(name_of(term.term)), seconds_text(term.exposed),
               fmt::format("{:.1f}%", 100 * term.exposed / p.cost.step_seconds), seconds_text(term.seconds),
               std::string(name_of(term.provenance)) + (term.extrapolated ? " *" : ""),
               std::string(help_of(term.term))});
  }
  return table.text(width);
}

bool same_stage(const StageDetail& a, const StageDetail& b) {
  return a.memory.bytes == b.memory.bytes && seconds_text(a.work) == seconds_text(b.work);
}

// One row per part of the worst stage's memory would hide the others, so: a row per stage, equal
// neighbours folded, and the parts as columns.
std::string memory_table(const Prediction& p, int width) {
  std::vector<Column> columns = {{"stage", Align::left}, {"peak"}};
  for (int i = 0; i < kMemoryParts; ++i)
    columns.push_back({std::string(name_of(static_cast<MemoryPart>(i))), Align::right, i + 1});
  columns.push_back({"works", Align::right, kMemoryParts + 1});
  Table table(columns);
  for (std::size_t s = 0; s < p.stages.size();) {
    std::size_t end = s + 1;
    while (end < p.stages.size() && same_stage(p.stages[s], p.stages[end])) ++end;
    const MemoryUse& use = p.stages[s].memory;
    std::vector<std::string> cells = {end == s + 1 ? std::to_string(s) : fmt::format("{}-{}", s, end - 1),
                                      fmt::format("{:.1f}", in_gib(Bytes(use.total())))};
    for (const std::int64_t part : use.bytes)
      cells.push_back(part == 0 ? "-" : fmt::format("{:.1f}", in_gib(Bytes(part))));
    cells.push_back(seconds_text(p.stages[s].work));
    table.row(std::move(cells));
    s = end;
  }
  return table.text(width);
}

std::string extrapolated_text(const Prediction& p) {
  std::string names;
  for (const TermPrediction& term : p.terms) {
    if (term.extrapolated && term.seconds > 0)
      names += (names.empty() ? "" : ", ") + std::string(name_of(term.term));
  }
  if (names.empty()) return "every kernel and message lies inside the calibrated range";
  return "* outside the calibrated range, in part: " + names;
}

}  // namespace

std::string to_text(const PredictResult& result, const Terminal& terminal, bool quiet) {
  const Prediction& p = result.prediction;
  std::string out = bold(wrapped(answer_of(p), terminal.width, 2), terminal);
  if (quiet) return out;
  out += wrapped(question_text(result.question, p), terminal.width, 2);
  out += wrapped("layout " + to_string(p.layout), terminal.width, 2);
  out += wrapped(fmt::format("framework {}, calibration {} ({})", result.question.framework,
                             result.question.calibration, result.question.calibration_source),
                 terminal.width, 2);
  out += fmt::format("\nTime of one step on the slowest stage ({})\n", p.cost.bottleneck_stage);
  out += time_table(p, terminal.width) + wrapped(extrapolated_text(p), terminal.width, 2);
  out += "\nMemory at each stage's own peak, GiB per GPU, and seconds it works\n" +
         memory_table(p, terminal.width);
  for (const std::string& note : result.notes) out += wrapped("note: " + note, terminal.width, 2);
  return out;
}

}  // namespace tw
