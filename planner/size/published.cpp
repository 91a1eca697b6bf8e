#include "planner/size/published.hpp"

#include "planner/size/runs.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

std::optional<std::int64_t> tokens_of(const PublishedRun& run) {
  if (run.tokens->empty()) return std::nullopt;
  const Parsed<std::int64_t> parsed = parse_count(*run.tokens, "tokens");
  if (!parsed.value) throw InputError("scenarios/runs", run.title, "tokens: " + parsed.error);
  return parsed.value;
}

void predict_layout(PublishedBeside& out, const PublishedRun& run, const Inputs& inputs) {
  Inputs own = inputs;
  own.training = {};
  own.global_batch = run.global_batch.value_or(inputs.global_batch), own.seq = run.seq.value_or(inputs.seq);
  if (!run.framework->empty()) own.profile = load_profile(*run.framework), own.any_framework = false;
  if (!run.precision->empty()) own.precision = parse_precision(*run.precision);
  const Problem problem(own, run.gpus);
  Layout layout = parse_layout(*run.layout, run.gpus);
  layout.precision = own.precision;
  if (const std::string why = illegal_because(layout, problem.job); !why.empty())
    throw InputError("scenarios/runs", run.title, "layout: " + why);
  Evaluator evaluator(problem.job, problem.machine, own.settings);
  out.layout = predict(evaluator, layout);
  out.question = question_of(problem);
}

PublishedBeside beside(const PublishedRun& run, const Inputs& inputs, std::int64_t tokens) {
  PublishedBeside out{run.title, run.source, run.gpu_hours, run.effective_time, 1, {}, {}};
  if (const auto published = tokens_of(run))
    out.tokens_share = static_cast<double>(tokens) / static_cast<double>(*published);
  if (!run.layout->empty()) predict_layout(out, run, inputs);
  return out;
}

}  // namespace

std::vector<std::pair<std::size_t, PublishedBeside>> published_beside(const Inputs& inputs,
                                                                      const SizeResult& result) {
  std::vector<std::pair<std::size_t, PublishedBeside>> out;
  for (const PublishedRun& run : all_runs()) {
    if (run.model != inputs.model.name || run.gpu != inputs.cluster.gpu) continue;
    for (std::size_t i = 0; i < result.rows.size(); ++i) {
      if (result.rows[i].gpus == run.gpus && result.rows[i].why_not.empty())
        out.emplace_back(i, beside(run, inputs, result.tokens));
    }
  }
  return out;
}

}  // namespace tw
