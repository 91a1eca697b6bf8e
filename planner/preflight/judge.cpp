// What is true of any layout on a cluster: memory, groups across nodes, skewed experts, idle stages.
#include <fmt/format.h>

#include <algorithm>

#include "costmodel/layout/rank_grid.hpp"
#include "planner/preflight/check.hpp"
#include "planner/space.hpp"
#include "reports/text.hpp"

namespace tw::preflight {
namespace {

// Of device memory: the error of predicted peaks on measured runs (README, How wrong is it) is about 3%.
constexpr double kMemoryDoubt = 0.03;
constexpr double kIdleStages = 0.25;  // of the step, worth a warning
constexpr double kLikelySkew = 1.3;   // of the busiest rank over the mean: less room is worth a warning

void add(CheckResult& result, Severity severity, std::string about, std::string text) {
  result.findings.push_back({severity, std::move(about), std::move(text)});
}

std::string largest_parts(const MemoryUse& memory) {
  std::vector<int> parts;
  for (int i = 0; i < kMemoryParts; ++i) parts.push_back(i);
  std::sort(parts.begin(), parts.end(), [&](int a, int b) {
    return memory[static_cast<MemoryPart>(a)] > memory[static_cast<MemoryPart>(b)];
  });
  std::string out;
  for (int i = 0; i < 3; ++i) {
    const auto part = static_cast<MemoryPart>(parts[static_cast<std::size_t>(i)]);
    out += fmt::format("{}{} {}", i > 0 ? ", " : "", name_of(part), gib_text(memory[part]));
  }
  return out;
}

void judge_memory(const Prediction& p, CheckResult& result) {
  const std::int64_t peak = p.cost.memory.total(), limit = p.limit.count;
  const auto doubt = static_cast<std::int64_t>(kMemoryDoubt * p.device_memory.to_double());
  const std::string need =
      fmt::format("stage {} needs {} of {} usable", p.cost.worst_stage, gib_text(peak), gib_text(limit));
  if (peak > limit + doubt) {
    add(result, Severity::fail, "memory",
        fmt::format("{}: {} over; {}", need, gib_text(peak - limit), largest_parts(p.cost.memory)));
  } else if (peak > limit - doubt) {
    add(result, Severity::warn, "memory",
        fmt::format("{}: within 3% of the limit, which is as well as memory is predicted; {}", need,
                    largest_parts(p.cost.memory)));
  } else {
    add(result, Severity::note, "memory", fmt::format("{}, {} free", need, gib_text(limit - peak)));
  }
}

std::vector<GroupAxis> axes_of(const RankGrid& grid, GroupKey key) {
  std::vector<GroupAxis> out;
  for (const Axis& axis : grid.group_axes(key)) out.push_back({axis.size, axis.stride});
  return out;
}

double share_of(const Prediction& p, std::string_view term) {
  for (const TermPrediction& each : p.terms) {
    if (name_of(each.term) == term) return each.exposed / p.cost.step_seconds;
  }
  return 0;
}

struct NamedGroup {
  std::string_view name, term;
  GroupKey key;
  bool wants_node;  // across nodes is worth a warning
};

void judge_groups(const Priced& priced, const Prediction& p, CheckResult& result) {
  const RankGrid grid(p.layout);
  const NamedGroup groups[] = {{"tp", "tp", attention_group(bit(Dim::tp)), true},
                               {"cp", "cp", attention_group(bit(Dim::cp)), false},
                               {"ep", "ep", expert_group(bit(Dim::ep)), false},
                               {"etp", "ep", expert_group(bit(Dim::etp)), true}};
  for (const NamedGroup& group : groups) {
    const std::vector<GroupAxis> axes = axes_of(grid, group.key);
    if (axes.empty()) continue;
    const GroupLinks links = priced.problem.fabric.links(axes);
    if (links.nodes < 2) continue;
    const double share = share_of(p, group.term);
    const bool costly = group.wants_node || share > 0.1;
    add(result, costly ? Severity::warn : Severity::note, "groups",
        fmt::format(
            "{} groups of {} ranks lie on {} nodes{}, {} ranks on each; the step waits {:.0f}% for {}",
            group.name, links.ranks, links.nodes, links.tier > 1 ? " over the spine" : "",
            links.ranks_per_node, 100 * share, group.term));
  }
}

void judge_stages(const Priced& priced, const Prediction& p, CheckResult& result) {
  const Layout& l = p.layout;
  if (l.pp < 2) return;
  const std::int64_t count = microbatches(l, priced.problem.job);
  // Narayanan et al. 2021 (arXiv 2104.04473), section 2.2: (p - 1) / (v m) of the work; of the step, + 1.
  const double idle = (l.pp - 1.0) / (static_cast<double>(l.vpp) * static_cast<double>(count) + l.pp - 1);
  if (count < l.pp) {
    add(result, Severity::warn, "mesh",
        fmt::format("{} micro-batches for {} stages: stages stand idle for about {:.0f}% of the step", count,
                    l.pp, 100 * idle));
  } else if (idle > kIdleStages) {
    add(result, Severity::warn, "mesh",
        fmt::format(
            "stages stand idle for about {:.0f}% of the step: {} micro-batches over {} stages of {} chunks",
            100 * idle, count, l.pp, l.vpp));
  }
}

// The largest load of the busiest rank over the mean that memory still holds.
double largest_load(const Priced& priced, const Layout& layout, double most) {
  double low = 1, high = most;
  for (int i = 0; i < 6; ++i) {
    const double middle = (low + high) / 2;
    EvaluatorSettings settings = priced.inputs.settings;
    settings.routing.max_over_mean = middle, settings.routing.likeness = 0;
    Evaluator evaluator(priced.problem.job, priced.problem.machine, settings);
    (evaluator.cost_if_fits(layout).fits ? low : high) = middle;
  }
  return low;
}

void judge_skew(const Priced& priced, const Prediction& p, CheckResult& result) {
  const Moe* moe = priced.inputs.model.moe();
  if (moe == nullptr) return;
  const Routing& routing = priced.inputs.settings.routing;
  if (routing.capacity_factor > 0) {
    add(result, routing.capacity_factor < 1 ? Severity::warn : Severity::note, "skew",
        fmt::format(
            "every expert computes {} times the mean number of tokens: what a skewed router sends beyond "
            "is dropped",
            routing.capacity_factor));
    return;
  }
  if (!p.cost.fits || p.layout.ep < 2) return;
  const double most = std::min<double>(p.layout.ep, 4);
  const double load = largest_load(priced, p.layout, most);
  if (load > 0.98 * most) return;
  add(result, load < kLikelySkew ? Severity::warn : Severity::note, "skew",
      fmt::format(
          "dropless experts fit while the busiest rank of ep {} gets up to {:.2f} times the mean; a more "
          "skewed router runs out of memory",
          p.layout.ep, load));
}

void judge_framework(const Priced& priced, const Prediction& p, CheckResult& result) {
  const std::string beyond = beyond_framework(priced.inputs.profile, priced.inputs.model, p.layout);
  if (!beyond.empty() && !priced.inputs.any_framework) {
    add(result, Severity::warn, "mesh",
        fmt::format("{} is not known to run {}; priced with its kernels all the same",
                    priced.inputs.profile.name, beyond));
  }
}

std::int32_t padded(std::int32_t size, std::int32_t multiple) {
  return (size + multiple - 1) / multiple * multiple;
}

}  // namespace

void judge_layout(const Priced& priced, const Layout& layout, CheckResult& result) {
  Evaluator evaluator(priced.problem.job, priced.problem.machine, priced.inputs.settings);
  const Prediction p = predict(evaluator, layout);
  judge_memory(p, result);
  judge_groups(priced, p, result);
  judge_stages(priced, p, result);
  judge_skew(priced, p, result);
  judge_framework(priced, p, result);
  result.prediction = p, result.vocabulary = priced.inputs.model.vocab;
}

// Transformer Engine, transformer_engine/pytorch/utils.py, assert_dim_for_fp8_exec: rows in multiples of 8,
// columns of 16; mxfp8 scales blocks of 32, nvfp4 of 16 and 128 rows of scales.
void judge_precision(const Inputs& inputs, const Layout& layout, CheckResult& result) {
  if (layout.precision == Precision::bf16) return;
  const std::int32_t multiple = layout.precision == Precision::mxfp8 ? 32 : 16;
  const Model& model = inputs.model;
  std::vector<std::pair<std::string, std::int32_t>> sizes = {{"hidden", model.hidden}};
  for (const LayerKind& kind : model.kinds) {
    if (kind.mlp) sizes.emplace_back("ffn / tp", kind.mlp->ffn / layout.tp);
    if (kind.moe) sizes.emplace_back("expert ffn / etp", kind.moe->ffn / layout.etp);
  }
  for (const auto& [name, size] : sizes) {
    if (size % multiple == 0) continue;
    add(result, Severity::warn, "precision",
        fmt::format("{} {} is no multiple of {}, as {} products need: padded to {} or refused", name, size,
                    multiple, name_of(layout.precision), padded(size, multiple)));
  }
}

}  // namespace tw::preflight
