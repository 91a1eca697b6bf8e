#include "planner/validate/predict_row.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "planner/validate/compare.hpp"
#include "planner/validate/fill_layout.hpp"
#include "planner/validate/fill_machine.hpp"
#include "planner/validate/fill_model.hpp"
#include "planner/validate/metrics.hpp"
#include "planner/validate/words.hpp"
#include "topology/check.hpp"

namespace tw::validate {
namespace {

// A tuned run may be any choice that our model puts this close to the fastest: of two layouts of one
// published question the predicted ratio is off by 4% in the median of 614 pairs.
constexpr double kNearFastest = 0.05;
// Of the device's memory: a run that is known to have run may be over by this much in our model.
constexpr double kMemoryDoubt = 0.03;
constexpr std::int64_t kMostBatch = std::int64_t{1} << 30;

struct Chosen {
  std::size_t index = 0;
  double spread = 0;  // seconds, of the choices near it
  bool any_fits = false;
};

struct Choice {
  Cost cost;
  bool may_fit = false;
};

bool better(const Choice& a, const Choice& b) {
  if (a.may_fit != b.may_fit) return a.may_fit;
  return a.may_fit ? a.cost.step_seconds < b.cost.step_seconds
                   : a.cost.memory.total() < b.cost.memory.total();
}

double spread_near(const std::vector<Choice>& choices, double fastest) {
  double squares = 0, near = 0;
  for (const Choice& choice : choices) {
    const double off = choice.cost.step_seconds / fastest - 1;
    if (choice.may_fit && off <= kNearFastest) squares += off * off, near += 1;
  }
  return near > 0 ? fastest * std::sqrt(squares / near) : 0;
}

// The fastest that fits, or that is over by no more than doubt; else the one that needs least memory.
Chosen choose(Evaluator& evaluator, const std::vector<Layout>& layouts) {
  const double doubtful = evaluator.context().limit.to_double() * (1 + kMemoryDoubt);
  std::vector<Choice> choices;
  Chosen out;
  for (const Layout& layout : layouts) {
    const Cost cost = evaluator.cost(layout);
    choices.push_back({cost, Bytes(cost.memory.total()).to_double() <= doubtful});
    out.any_fits = out.any_fits || cost.fits;
    if (better(choices.back(), choices[out.index])) out.index = choices.size() - 1;
  }
  out.spread = spread_near(choices, choices[out.index].cost.step_seconds);
  return out;
}

PredictedRow predicted_row(const Prediction& p, double more_spread) {
  PredictedRow out;
  out.layout = to_string(p.layout);
  out.step_time_s = p.cost.step_seconds;
  const double half = std::hypot(p.high_seconds - p.cost.step_seconds, kBand80 * more_spread);
  out.step_time_low_s = std::max(0.0, out.step_time_s - half), out.step_time_high_s = out.step_time_s + half;
  out.tokens_per_s_per_gpu = p.tokens_per_s_per_gpu;
  out.model_tflops_per_gpu = p.model_tflops_per_gpu, out.mfu = p.mfu;
  const MemoryKinds kinds = memory_kinds(p.cost.memory);
  out.allocated_gib = kinds.allocated_gib, out.reserved_gib = kinds.reserved_gib,
  out.device_gib = kinds.device_gib;
  out.limit_gib = in_gib(p.limit);
  for (const TermPrediction& term : p.terms) {
    if (term.exposed > 0) out.terms.emplace_back(name_of(term.term), term.exposed);
  }
  for (int i = 0; i < kMemoryParts; ++i) {
    const auto part = static_cast<MemoryPart>(i);
    out.memory_parts.emplace_back(name_of(part), in_gib(Bytes(p.cost.memory[part])));
  }
  return out;
}

double memory_of(const PredictedRow& p, const std::string& kind) {
  if (kind == "reserved") return p.reserved_gib;
  return kind == "device" ? p.device_gib : p.allocated_gib;
}

// Everything that a row's prediction is made of, kept alive together.
class RowCase {
 public:
  RowCase(const Row& row, Scenarios& scenarios, const Settings& settings)
      : row_(row),
        scenarios_(scenarios),
        settings_(settings),
        rule_(scenarios.rules().of(row)),
        effects_(scenarios.rules().effects(row)) {}

  ValidatedRow run() {
    out_.id = row_.id, out_.source = row_.source, out_.why_not = row_.why_not;
    out_.in_time = gives_time();
    if (row_.oom)
      out_.fits_measured = false;
    else if (out_.in_time)
      out_.fits_measured = true;
    if (out_.why_not.empty()) out_.why_not = guarded();
    out_.used = out_.why_not.empty();
    return out_;
  }

 private:
  bool gives_time() const {
    const RowMeasured& m = row_.measured;
    return !row_.oom && (m.step_time_s || m.tokens_per_s_per_gpu || m.tflops_per_gpu || m.mfu || row_.hfu);
  }

  std::string guarded() {
    try {
      return predict();
    } catch (const InputError& error) {
      return error.what();
    }
  }

  std::string predict() {
    for (const std::string& key : row_.ignored) out_.filled.push_back("key " + key + " is not read");
    FilledCluster cluster = fill_cluster(row_, out_.filled);
    if (!cluster.why_not.empty()) return cluster.why_not;
    FilledModel model = fill_model(row_, rule_.vocab.value_or(0), out_.filled);
    if (!model.why_not.empty()) return model.why_not;
    const std::int64_t batch = global_batch_of(row_);
    if (batch < 1 || batch > kMostBatch) return "layout.global_batch is missing";
    Job job{&model.model, batch, *row_.model.seq_len, cluster.cluster.gpus};
    job.training.document = document();
    group(job, cluster.cluster);
    const Profile profile = fill_profile(row_, scenarios_, settings_.framework, out_.filled);
    const LayoutAsk ask{row_,    rule_, effects_,
                        profile, job,   cluster.cluster.device.architecture == "blackwell"};
    const FilledLayouts layouts = fill_layouts(ask, out_.filled);
    if (layouts.layouts.empty()) return layouts.why_not;
    return evaluate(job, cluster.cluster, profile, layouts);
  }

  std::string evaluate(const Job& job, const Cluster& cluster, const Profile& profile,
                       const FilledLayouts& layouts) {
    const Fabric fabric(cluster);
    const std::string& named = settings_.calibration.empty() ? cluster.calibration : settings_.calibration;
    const Calibration calibration = calibration_of(scenarios_.file("calibrations", named), cluster);
    EvaluatorSettings settings;
    settings.routing = routing(job);
    Evaluator evaluator(job, {&cluster, &fabric, &calibration, &profile}, settings);
    const Chosen chosen = choose(evaluator, layouts.layouts);
    const Prediction p = tw::predict(evaluator, layouts.layouts[chosen.index]);
    out_.predicted = predicted_row(p, layouts.exact ? 0 : chosen.spread);
    out_.predicted->framework = profile.name, out_.predicted->calibration = calibration.name();
    out_.predicted->cluster = cluster.name;
    out_.fits_predicted = chosen.any_fits;  // what a row leaves open may be what makes it fit
    compare(job, cluster, p);
    return {};
  }

  // Tokens of a packed document; 0: a sequence is one.
  double document() {
    for (const TextRule& effect : effects_) {
      if (effect.set != TextEffect::packed) continue;
      out_.filled.push_back(fmt::format("documents: of {} tokens, packed", effect.value.value_or(0)));
      return effect.value.value_or(0);
    }
    return 0;
  }

  Routing routing(const Job& job) {
    Routing out;
    if (!job.model->has_moe()) return out;
    if (rule_.capacity_factor) out.capacity_factor = *rule_.capacity_factor;
    for (const TextRule& effect : effects_) {
      if (effect.set == TextEffect::capacity) out.capacity_factor = 1;
      if (effect.set == TextEffect::skew) out.max_over_mean = effect.value.value_or(1);
    }
    out_.filled.push_back(out.capacity_factor > 0
                              ? fmt::format("routing: capacity factor {}", out.capacity_factor)
                              : fmt::format("routing: busiest rank {} times the mean", out.max_over_mean));
    return out;
  }

  void compare(const Job& job, const Cluster& cluster, const Prediction& p) {
    if (!row_.oom) out_.measured = measured_of(row_, job, cluster.device.bf16, rule_);
    if (!out_.measured.from.empty())
      out_.time_ratio = out_.predicted->step_time_s / out_.measured.step_time_s;
    if (!out_.measured.memory_gib) return;
    double mine = memory_of(*out_.predicted, out_.measured.memory_unit);
    if (mentions(row_.memory_unit, "rank-0") || mentions(row_.memory_unit, "rank 0")) {
      const MemoryKinds first = memory_kinds(p.stages.front().memory);
      mine = out_.measured.memory_unit == "reserved" ? first.reserved_gib : first.allocated_gib;
    }
    out_.memory_ratio = mine / *out_.measured.memory_gib;
  }

  void group(const Job& job, const Cluster& cluster) {
    const Precision precision = read_precision_words(row_.layout.precision, row_.year.value_or(2025), false);
    const std::string kind = cluster.gpu.substr(0, cluster.gpu.find('-'));
    out_.group = fmt::format("{} {} {}", kind, job.model->has_moe() ? "MoE" : "dense",
                             is_low(precision) ? "fp8/fp4" : "bf16");
    out_.question = fmt::format("{}|{}|{}|{}|{}|{}", job.model->name, job.model->layers(), job.seq,
                                cluster.gpu, job.gpus, job.global_batch);
  }

  const Row& row_;
  Scenarios& scenarios_;
  const Settings& settings_;
  const SourceRule& rule_;
  std::vector<TextRule> effects_;
  ValidatedRow out_;
};

}  // namespace

ValidatedRow predict_row(const Row& row, Scenarios& scenarios, const Settings& settings) {
  return RowCase(row, scenarios, settings).run();
}

}  // namespace tw::validate
