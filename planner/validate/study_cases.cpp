#include "planner/validate/study_cases.hpp"

#include <algorithm>
#include <cmath>

#include "costmodel/prediction.hpp"
#include "costmodel/program/work.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw::validate {
namespace {

// A profile of scenarios/frameworks with what a case changes of it.
Profile changed_profile(const std::string& name, const std::optional<JsonView>& mechanisms) {
  const JsonView file = load_json(scenario_path("frameworks", name));
  Profile profile = profile_of(mechanisms ? overlaid(file, *mechanisms) : file);
  profile.name = name;
  return profile;
}

// A machine with what it points to.
struct Bench {
  Cluster cluster;
  Fabric fabric;
  Calibration calibration;
  Profile profile;
  Machine machine;

  Bench(const std::string& name, const std::string& framework, const std::optional<JsonView>& mechanisms,
        bool alone)
      : cluster(load_cluster(name)),
        fabric(cluster),
        calibration(load_calibration(cluster.calibration, cluster)),
        profile(changed_profile(framework, mechanisms)),
        machine{&cluster, &fabric, &calibration, &profile} {
    if (alone) calibration = calibration.in_bursts();
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
};

void check_math(const Training& training, const Cluster& cluster) {
  const Math math = *training.lora->math;
  const double peak = math == Math::fp32 ? cluster.device.fp32->value : cluster.device.tf32->value;
  if (adapts(training) && math != Math::bf16 && peak <= 0)
    throw InputError("study", "training.lora.math", cluster.gpu + " states no rate for it");
}

// Seconds by term and curve for one unique token, so that cases of other batches can be compared.
Cost per_token(Cost cost, double tokens) {
  cost.step_seconds /= tokens, cost.spread_seconds /= tokens;
  for (float& part : cost.terms.exposed) part /= static_cast<float>(tokens);
  for (float& part : cost.terms.error) part /= static_cast<float>(tokens);
  return cost;
}

void predict_step(const StepCase& s, Quantity compare, PredictedCase& out) {
  Bench bench(s.cluster, s.framework, s.mechanisms, false);
  Model model = load_model(s.model);
  if (*s.vocab > 0) model.vocab = *s.vocab;
  if (adapts(*s.training)) model.mtp_layers = 0;  // transformers loads no multi-token prediction
  const Training& training = *s.training;
  check_math(training, bench.cluster);
  const Job job{&model, s.global_batch, s.seq, bench.cluster.gpus, training};
  const Layout layout = parse_layout(s.layout, job.gpus);
  if (const std::string why = illegal_because(layout, job); !why.empty())
    throw InputError("study", "layout", why);
  const std::string unpriced = unpriced_because(layout.precision, bench.cluster.device, bench.calibration);
  if (!unpriced.empty()) throw InputError("study", "layout", unpriced);
  EvaluatorSettings settings;
  settings.routing.capacity_factor = *s.capacity_factor;
  Evaluator evaluator(job, bench.machine, settings);
  const Prediction p = predict(evaluator, layout);
  out.step_time_s = p.cost.step_seconds;
  out.memory_gib = in_gib(Bytes(p.cost.memory.total()));
  out.limit_gib = in_gib(p.limit);
  out.layout = to_string(layout), out.framework = bench.profile.name;
  out.cost = per_token(p.cost, p.unique_tokens_per_s * p.cost.step_seconds);
  switch (compare) {
    case Quantity::unique_tokens:
      out.predicted = p.unique_tokens_per_s;
      break;
    case Quantity::tokens:
      out.predicted = p.tokens_per_s;
      break;
    case Quantity::mfu:
      out.predicted = p.mfu;
      break;
    case Quantity::time:
      out.predicted = p.cost.step_seconds;
      break;
    case Quantity::memory: {  // what the allocator holds for tensors
      const std::int64_t outside = p.cost.memory[MemoryPart::context] +
                                   p.cost.memory[MemoryPart::communicators] +
                                   p.cost.memory[MemoryPart::slack];
      out.predicted = Bytes(p.cost.memory.total() - outside).to_double();
      break;
    }
    case Quantity::fits:
      out.predicted = p.cost.fits ? 1 : 0;
  }
}

double ring_seconds(const RingCase& r, Bench& bench, const Layout& layout) {
  Model model;
  LayerKind kind;
  kind.attention.heads = kind.attention.kv_heads = r.heads;
  kind.attention.head_dim = kind.attention.value_dim = r.head_dim;
  add_layer(model, kind);
  const PassKey key = pass_key(layout);
  const EmitInput input{&model, &bench.profile, key, r.seq, {}};
  const LayerWork work = emit_attention(input, kind.attention);
  const PassLinks links = pass_links(bench.machine, key);
  Pricer pricer(bench.machine, Precision::bf16);
  const double slowdown = bench.calibration.compute_slowdown();
  const double forward =
      resolve(pricer.price(work.forward, work.forward_output, links), {}, slowdown).seconds;
  const double backward =
      resolve(pricer.price(work.backward, work.backward_output, links), {}, slowdown).seconds;
  const double elements = static_cast<double>(r.seq) / layout.cp * r.heads * r.head_dim * layout.cp;
  const Bytes merged(std::llround(elements * *r.merge_bytes));
  return forward + backward + bench.calibration.elementwise(merged).time.value +
         bench.calibration.synchronise().value;
}

void predict_ring(const RingCase& r, PredictedCase& out) {
  Bench bench(r.cluster, r.framework, r.mechanisms, true);
  const Layout layout = parse_layout(r.layout, bench.cluster.gpus);
  out.step_time_s = out.predicted = ring_seconds(r, bench, layout);
  out.layout = to_string(layout), out.framework = bench.profile.name;
}

void predict_loss(const LossCase& l, PredictedCase& out) {
  const LossCall call{.kernel = l.kernel,
                      .rows = l.rows,
                      .hidden = l.hidden,
                      .vocab = l.vocab,
                      .chunk = *l.chunk,
                      .backward = l.backward};
  out.predicted = Bytes(stand_alone_bytes(call, l.workspace.count) + l.others->count).to_double();
}

double held_bytes(const std::vector<Held>& tensors) {
  double sum = 0;
  for (const Held& t : tensors) sum += Bytes(t.rows * t.columns * t.bytes * *t.times).to_double();
  return sum;
}

double measured_of(const Figures& m, Quantity compare) {
  switch (compare) {
    case Quantity::unique_tokens:
      return *m.unique_tokens_per_s;
    case Quantity::tokens:
      return *m.tokens_per_s;
    case Quantity::mfu:
      return *m.mfu;
    case Quantity::time:
      return m.time->value;
    case Quantity::memory:
      return m.memory->to_double();
    case Quantity::fits:
      return *m.fits ? 1 : 0;
  }
  return 0;
}

// A pair is right when the prediction has the order that was measured.
void count_pairs(AnsweredStudy& out) {
  for (std::size_t i = 0; i < out.cases.size(); ++i) {
    for (std::size_t j = i + 1; j < out.cases.size(); ++j) {
      const PredictedCase &a = out.cases[i], &b = out.cases[j];
      if (std::abs(std::log(a.measured / b.measured)) <= out.study.doubt) continue;
      ++out.pairs;
      out.pairs_right +=
          (a.measured < b.measured) == (a.predicted < b.predicted) && a.predicted != b.predicted;
    }
  }
  out.right = out.pairs_right == out.pairs;
}

void compare_ends(AnsweredStudy& out) {
  const double sign = more_is_better(out.study.compare) ? 1 : -1;
  const auto best_of = [&](auto value, double way) {
    return &*std::max_element(out.cases.begin(), out.cases.end(),
                              [&](const auto& a, const auto& b) { return way * value(a) < way * value(b); });
  };
  const auto measured = [](const PredictedCase& c) { return c.measured; };
  const auto predicted = [](const PredictedCase& c) { return c.predicted; };
  const PredictedCase *best = best_of(measured, sign), *worst = best_of(measured, -sign);
  const PredictedCase* chosen = best_of(predicted, sign);
  // Predicted as near as the source can tell apart: both are best.
  const bool tie = std::abs(std::log(best->predicted / chosen->predicted)) <= out.study.doubt;
  out.best = tie ? best->name : chosen->name;
  const auto gain = [&](double good, double bad) { return sign > 0 ? good / bad : bad / good; };
  out.measured_ratio = gain(best->measured, worst->measured);
  out.predicted_ratio = gain(best->predicted, worst->predicted);
  if (best->cost && worst->cost) out.why = compare(*best->cost, *worst->cost, 0).terms;
}

void sum_errors(AnsweredStudy& out) {
  for (const PredictedCase& one : out.cases) {
    const double error = one.measured > 0 ? std::abs(one.predicted / one.measured - 1) : 0;
    out.mean_error += error / static_cast<double>(out.cases.size());
    out.worst_error = std::max(out.worst_error, error);
  }
  if (*out.study.within > 0) out.accurate = out.worst_error <= *out.study.within;
}

}  // namespace

bool more_is_better(Quantity compare) {
  return compare == Quantity::unique_tokens || compare == Quantity::tokens || compare == Quantity::mfu ||
         compare == Quantity::fits;
}

PredictedCase predict_case(const StudyCase& one, Quantity compare) {
  PredictedCase out;
  out.name = one.name;
  out.measured = measured_of(one.measured, compare);
  if (one.step) predict_step(*one.step, compare, out);
  if (one.ring) predict_ring(*one.ring, out);
  if (one.loss) predict_loss(*one.loss, out);
  if (one.tensors) out.predicted = held_bytes(*one.tensors);
  return out;
}

AnsweredStudy answer(const Ablation& study) {
  AnsweredStudy out;
  out.study = study;
  for (const StudyCase& one : study.cases) out.cases.push_back(predict_case(one, study.compare));
  if (study.compare == Quantity::fits) {
    out.pairs = static_cast<std::int32_t>(out.cases.size());
    for (const PredictedCase& one : out.cases) out.pairs_right += one.predicted == one.measured;
    out.right = out.pairs_right == out.pairs;
    return out;
  }
  count_pairs(out);
  compare_ends(out);
  sum_errors(out);
  return out;
}

std::vector<AnsweredStudy> answer_studies(const std::string& name) {
  std::vector<AnsweredStudy> out;
  for (const std::string& each : scenario_names("studies")) {
    if (each.find(name) != std::string::npos) out.push_back(answer(load_study(each)));
  }
  return out;
}

}  // namespace tw::validate
