#include "costmodel/prediction.hpp"

#include <algorithm>
#include <cmath>

#include "costmodel/curves.hpp"

namespace tw {
namespace {

std::size_t at(Term term) {
  return static_cast<std::size_t>(term);
}

// Seconds that ops of each term are busy on the bottleneck stage over the whole step.
class BusyTerms {
 public:
  explicit BusyTerms(std::vector<TermPrediction>& terms) : terms_(terms) {}

  void add(const PricedList& list, double times) {
    for (const PricedOp& op : list.ops) add(op, times);
  }
  void add(const PricedOp& op, double times) {
    if (op.seconds <= 0 || times <= 0) return;
    TermPrediction& term = terms_[at(op.term)];
    term.seconds += times * op.seconds;
    term.provenance = seen_[at(op.term)] ? std::max(term.provenance, op.provenance) : op.provenance;
    term.extrapolated = term.extrapolated || op.extrapolated;
    seen_[at(op.term)] = true;
  }

 private:
  std::vector<TermPrediction>& terms_;
  std::array<bool, kTerms> seen_{};
};

void fill_terms(Prediction& out, const Chain& chain, const StepContext& context) {
  out.terms.resize(kTerms);
  for (std::size_t i = 0; i < kTerms; ++i) {
    out.terms[i].term = static_cast<Term>(i);
    out.terms[i].exposed = out.cost.terms.exposed[i];
  }
  BusyTerms busy(out.terms);
  const double m = static_cast<double>(microbatches(*chain.layout, context.job));
  each_part_of_stage(context, chain, out.cost.bottleneck_stage,
                     [&](const KindPass& pass, const KindState& state, double n) {
                       busy.add(pass.forward, m * n);
                       busy.add(pass.backward, m * n);
                       PricedOp gather = chain.state->gather, reduce = chain.state->reduce;
                       gather.seconds = state.gather, reduce.seconds = state.reduce;
                       busy.add(gather, n * (chain.state->gathers_every ? 2 * m : 1));
                       busy.add(reduce, n * (chain.state->reduces_every ? m : 1));
                     });
  for (TermPrediction& term : out.terms) term.seconds = std::max(term.seconds, term.exposed);
}

// The parts whose squares sum to that of the spread; what no curve explains is the whole step's.
std::vector<BandPart> band_of(const Cost& cost, double shared) {
  std::vector<BandPart> out;
  double rest = cost.spread_seconds * cost.spread_seconds;
  for (std::size_t i = 0; i < kCurves; ++i) {
    const double error = shared * double{cost.terms.error[i]};
    if (error > 0) out.push_back({name_of(static_cast<CurveId>(i)), error});
    rest -= error * error;
  }
  out.push_back({"whole_step", std::sqrt(std::max(rest, 0.0))});
  std::sort(out.begin(), out.end(),
            [](const BandPart& a, const BandPart& b) { return a.seconds > b.seconds; });
  return out;
}

}  // namespace

Prediction predict(Evaluator& evaluator, const Layout& layout) {
  const StepContext& context = evaluator.context();
  Prediction out;
  out.layout = layout;
  out.cost = evaluator.cost(layout, out.stages);
  out.limit = context.limit;
  out.device_memory = context.machine.cluster->device.memory;
  const double half = kBand80 * out.cost.spread_seconds;
  out.low_seconds = std::max(0.0, out.cost.step_seconds - half);
  out.high_seconds = out.cost.step_seconds + half;
  const Job& job = context.job;
  out.tokens_per_s = static_cast<double>(job.global_batch) * job.seq / out.cost.step_seconds;
  out.unique_tokens_per_s = out.tokens_per_s * *job.training.valid / *job.training.repeats;
  out.tokens_per_s_per_gpu = out.tokens_per_s / job.gpus;
  out.parameters = count_parameters(*job.model);
  const FlopsPerSec rate = model_flops_per_token(*job.model, job.seq) * out.tokens_per_s_per_gpu / Seconds(1);
  out.model_tflops_per_gpu = in_tflops(rate);
  out.mfu = rate / context.machine.cluster->device.bf16;
  const Cost& cost = out.cost;
  const double compute = cost.terms[Term::gemm] + cost.terms[Term::expert_gemm] + cost.terms[Term::attention];
  out.hfu = compute > 0 ? out.mfu * (1 + double{cost.terms[Term::recompute]} / compute) : out.mfu;
  const Chain chain = evaluator.chain(layout);
  fill_terms(out, chain, context);
  out.pipe = pipe_detail(context, chain);
  out.band = band_of(cost, context.machine.calibration->data().step_errors->shared);
  return out;
}

std::string_view name_of(Provenance provenance) {
  switch (provenance) {
    case Provenance::measured:
      return "measured";
    case Provenance::published:
      return "published";
    case Provenance::derived:
      return "derived";
  }
  return "";
}

std::string_view name_of(CurveId curve) {
  constexpr std::string_view names[] = {"gemm", "grouped_gemm",     "attention",        "elementwise",
                                        "copy", "intra_collective", "inter_collective", "point_to_point",
                                        "host"};
  return names[static_cast<std::size_t>(curve)];
}

std::string_view name_of(MemoryPart part) {
  constexpr std::string_view names[] = {"parameters", "gradients",     "optimizer", "activations", "logits",
                                        "temporary",  "communicators", "context",   "slack"};
  return names[static_cast<std::size_t>(part)];
}

}  // namespace tw
