#include "planner/validate/compare.hpp"

#include <fmt/format.h>

#include "costmodel/parameters.hpp"
#include "planner/validate/words.hpp"

namespace tw::validate {
namespace {

// Attention's share of the causal count: the count at this length less that of a single token.
Flops attention_flops(const Model& model, std::int32_t seq) {
  Flops out;
  for (std::int32_t i = 0; i < model.layers(); ++i) {
    const Attention& a = model.layer(i).attention;
    // Forward and twice in the backward, 2 per multiply-add, q.k and p.v, seq/2 keys on average.
    out += Flops(3.0 * seq * a.heads * (a.head_dim + a.value_dim));
  }
  return out;
}

Flops logit_flops(const Model& model) {
  return Flops(6.0 * model.vocab * model.hidden);
}

double seconds_of_tokens(const Row& row, const Job& job) {
  return static_cast<double>(job.global_batch) * job.seq / (*row.measured.tokens_per_s_per_gpu * job.gpus);
}

double seconds_of_rate(FlopsPerSec rate, const Job& job, Flops per_token) {
  const double tokens = static_cast<double>(job.global_batch) * job.seq / job.gpus;
  return per_token.value * tokens / rate.value;
}

std::string memory_kind(const Row& row, const SourceRule& rule) {
  const std::string unit = lower(row.memory_unit);
  const auto has = [&](std::string_view needle) { return unit.find(needle) != std::string::npos; };
  if (has("allocated")) return "allocated";
  if (has("reserved")) return "reserved";
  if (has("smi") || has("device") || has("nvml") || has("used")) return "device";
  return rule.memory.value_or("allocated");
}

Maybe<double> memory_gib(const Row& row) {
  if (!row.measured.memory_gb) return std::nullopt;
  if (mentions(row.memory_unit, "gib")) return *row.measured.memory_gb;
  return *row.measured.memory_gb * in_gib(*parse_unit<Bytes>("1 GB").value);
}

}  // namespace

Flops counted_flops(const Model& model, std::int32_t seq, FlopsConvention convention) {
  const Flops causal = model_flops_per_token(model, seq);
  if (convention == FlopsConvention::causal) return causal;
  const Flops full = causal + attention_flops(model, seq);
  if (convention == FlopsConvention::full) return full;
  // Narayanan et al. 2021, equation 3: four forwards' worth of each layer, three of the logits.
  return (full - logit_flops(model)) * (4.0 / 3) + logit_flops(model);
}

MeasuredRow measured_of(const Row& row, const Job& job, FlopsPerSec peak, const SourceRule& rule) {
  MeasuredRow out;
  const RowMeasured& m = row.measured;
  const Flops counted = counted_flops(*job.model, job.seq, rule.flops);
  if (m.step_time_s) {
    out.from = "step time", out.step_time_s = *m.step_time_s;
  } else if (m.tokens_per_s_per_gpu) {
    out.from = "tokens/s", out.step_time_s = seconds_of_tokens(row, job);
  } else if (m.tflops_per_gpu) {
    out.from = "TFLOP/s", out.step_time_s = seconds_of_rate(teraflops(*m.tflops_per_gpu), job, counted);
  } else if (m.mfu) {
    out.from = "MFU", out.step_time_s = seconds_of_rate(peak * *m.mfu, job, counted);
  } else if (row.hfu) {
    const Flops executed = counted_flops(*job.model, job.seq, FlopsConvention::recomputed);
    out.from = "HFU", out.step_time_s = seconds_of_rate(peak * *row.hfu, job, executed);
  }
  out.memory_gib = memory_gib(row);
  if (out.memory_gib) out.memory_unit = memory_kind(row, rule);
  if (out.from.empty()) return out;
  const Flops own = model_flops_per_token(*job.model, job.seq);
  out.utilisation = seconds_of_rate(peak, job, own) / out.step_time_s;
  return out;
}

MemoryKinds memory_kinds(const MemoryUse& use) {
  const double total = in_gib(Bytes(use.total()));
  const double outside = in_gib(Bytes(use[MemoryPart::context] + use[MemoryPart::communicators]));
  const double slack = in_gib(Bytes(use[MemoryPart::slack]));
  return {total - outside - slack, total - outside, total};
}

}  // namespace tw::validate
