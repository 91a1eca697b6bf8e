#include "planner/economics/equal_step.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "planner/search.hpp"
#include "planner/space.hpp"
#include "reports/text.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

std::optional<Prediction> best_of(const Inputs& inputs, const std::string& fixed) {
  const Problem problem(inputs, inputs.cluster.gpus);
  const SearchResult found = search(problem, space_of(problem, fixed), {.top = 1, .quick = true}, {});
  if (found.best.empty()) return std::nullopt;
  Evaluator evaluator(problem.job, problem.machine, inputs.settings);
  return predict(evaluator, found.best.front().layout);
}

const Mlp& mlp_of(const Model& dense) {
  for (const LayerKind& kind : dense.kinds) {
    if (kind.mlp && !kind.moe) return *kind.mlp;
  }
  throw InputError("command line", "--model", dense.name + " has no dense MLP");
}

class Comparer {
 public:
  Comparer(const Inputs& inputs, const EqualStepSettings& settings) : inputs_(inputs), settings_(settings) {}

  std::optional<EqualStepRow> row(const std::string& name, const Model& model, std::int32_t ffn) {
    Inputs own = inputs_;
    own.model = model;
    std::optional<Prediction> best = best_of(own, settings_.fixed);
    if (!best) return std::nullopt;
    EqualStepRow out{name, ffn, count_parameters(model), std::move(*best), 0, 0, 0};
    out.flops_per_token = model_flops_per_token(model, inputs_.seq).value;
    return out;
  }
  std::optional<EqualStepRow> moe(const std::string& name, std::int32_t ffn) {
    return row(name, moe_of(inputs_.model, settings_, ffn), ffn);
  }

  // The widest experts whose step is not longer than `seconds`. Steps grow with the width, but for the
  // layouts that memory allows: a bisection.
  std::optional<EqualStepRow> widest(double seconds, std::int32_t most) {
    std::int32_t low = 0, high = most / kWidthStep + 1;
    std::optional<EqualStepRow> best;
    while (high - low > 1) {
      const std::int32_t middle = (low + high) / 2;
      std::optional<EqualStepRow> tried = moe("MoE, equal step", middle * kWidthStep);
      const bool good = tried && tried->best.cost.step_seconds <= seconds;
      (good ? low : high) = middle;
      if (good) best = std::move(tried);
    }
    return best;
  }

 private:
  const Inputs& inputs_;
  const EqualStepSettings& settings_;
};

std::vector<std::string> assumptions(const Inputs& in, const EqualStepSettings& s, double tokens) {
  std::vector<std::string> out;
  const auto say = [&](const std::string& line) { out.push_back(line); };
  say(fmt::format(
      "family: the dense model with {} of its MLPs replaced by {} experts, {} of them for each token; "
      "hidden size, layers, heads and vocabulary stay; experts are gated as the MLP is",
      s.every == 1 ? "all" : fmt::format("one of {}", s.every), s.experts, s.top_k));
  say(fmt::format(
      "equal step: the widest experts, in steps of {}, whose best layout is not slower than the dense "
      "model's best layout; each model has its own layout",
      kWidthStep));
  say(fmt::format("same machine, batch and sequence for all: {} x {}, {} sequences of {} tokens, {}, {}",
                  in.cluster.gpus, in.cluster.name, in.global_batch, in.seq, in.profile.name,
                  name_of(in.precision)));
  say(in.settings.routing.capacity_factor > 0
          ? fmt::format("every expert gets {:g} times the mean number of tokens (--capacity-factor)",
                        in.settings.routing.capacity_factor)
          : fmt::format("dropless routing; the busiest rank has {:g} times the mean (--expert-load)",
                        in.settings.routing.max_over_mean));
  say(s.tokens
          ? fmt::format("budget: what the dense model takes for {} tokens (--tokens)", tokens_text(*s.tokens))
          : fmt::format(
                "budget: what the dense model takes for {} tokens for each of its parameters (Hoffmann et "
                "al. 2022, arXiv 2203.15556), {}",
                kTokensPerParameter, tokens_text(std::llround(tokens))));
  say("no failures, no evaluation, no checkpoint: both models alike");
  say("what quality the tokens buy is not predicted");
  return out;
}

}  // namespace

Model moe_of(const Model& dense, const EqualStepSettings& settings, std::int32_t ffn) {
  Model out = dense;
  out.kinds.clear(), out.layer_kind.clear();
  for (std::int32_t i = 0; i < dense.layers(); ++i) {
    LayerKind kind = dense.layer(i);
    if (kind.mlp && i % settings.every == settings.every - 1) {
      Moe moe;
      moe.experts = settings.experts, moe.top_k = settings.top_k, moe.ffn = ffn;
      moe.gated = kind.mlp->gated, moe.bias = kind.mlp->bias;
      kind.moe = moe, kind.mlp.reset();
    }
    add_layer(out, kind);
  }
  out.name = fmt::format("{}-moe-{}x{}", dense.name, settings.experts, ffn);
  return out;
}

EqualStepResult equal_step(const Inputs& inputs, const EqualStepSettings& settings) {
  if (inputs.model.has_moe())
    throw InputError("command line", "--model",
                     inputs.model.name + " has experts already; give a dense model");
  const std::int32_t ffn = mlp_of(inputs.model).ffn;
  Comparer comparer(inputs, settings);
  EqualStepResult out;
  out.question = question_of(Problem(inputs, inputs.cluster.gpus));
  std::optional<EqualStepRow> dense = comparer.row("dense", inputs.model, ffn);
  if (!dense) {
    out.why_not = "the dense model does not fit";
    return out;
  }
  const double per_step = static_cast<double>(inputs.global_batch) * inputs.seq;
  const double tokens =
      static_cast<double>(settings.tokens.value_or(kTokensPerParameter * dense->parameters.total));
  const double seconds = dense->best.cost.step_seconds;
  out.budget_gpu_hours = inputs.cluster.gpus * in_hours(Seconds(tokens / per_step * seconds));
  out.budget_flops = tokens * dense->flops_per_token;
  out.rows.push_back(std::move(*dense));
  if (std::optional<EqualStepRow> equal = comparer.widest(seconds, ffn))
    out.rows.push_back(std::move(*equal));
  else
    out.why_not = fmt::format("even experts of {} make the step longer, or do not fit", kWidthStep);
  if (std::optional<EqualStepRow> full = comparer.moe("MoE, experts as wide as the MLP", ffn))
    out.rows.push_back(std::move(*full));
  for (EqualStepRow& row : out.rows) {
    row.tokens_by_time = tokens * seconds / row.best.cost.step_seconds;
    row.tokens_by_flops = out.budget_flops / row.flops_per_token;
  }
  out.assumptions = assumptions(inputs, settings, tokens);
  return out;
}

}  // namespace tw
