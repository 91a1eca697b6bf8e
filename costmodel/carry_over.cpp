// Rules that carry a calibration over to another GPU; every estimate is then derived. What the rules do
// not know is one error of the whole step (its kernels run at one clock, by one share): `spread`.
// - Kernels: rates go with the data-sheet peak times the share of it that the architecture reaches
//   (row of carry_over). Within one architecture the fitted share is kept, lowered by a
//   power (power_exponent) of power per peak FLOP where the board has less (derived: power ~ f*V^2, so the
//   sustained clock goes with its cube root where V ~ f, with itself where V no longer falls).
// - In training, GEMMs of another architecture slow down by its own ratio (row of carry_over).
// - Memory goes with the data-sheet rate; the exponential unit with the number of SMs.
// - What collectives and compute cost each other by size is not carried over: the two constants are.
// - Links: efficiencies are shares of the links' rates, times the architecture's link_scale; in-node
//   latencies and ramps times its link_latency and link_ramp.
#include <algorithm>
#include <cmath>

#include "costmodel/curves.hpp"

namespace tw {
namespace {

bool alike(double a, double b) {
  constexpr double kDataSheetRounding = 0.01;
  return std::abs(a - b) <= kDataSheetRounding * std::max(a, b);
}

bool same_kernels(const CalibratedDevice& from, const Gpu& to) {
  return from.sms == to.sms && alike(from.bf16.value, to.bf16.value) &&
         alike(from.memory_rate.value, to.memory_rate.value) && alike(from.power.value, to.power.value);
}

double power_clock(const CalibratedDevice& from, const Gpu& to, const CarryOver& rule) {
  const double per_flop = (to.power / to.bf16).value / (from.power / from.bf16).value;
  return std::pow(std::min(1.0, per_flop), *rule.power_exponent);
}

// What each curve's rate is multiplied by.
struct Factors {
  double gemm = 1, flash2 = 1, cudnn = 1;
};

Factors kernel_factors(const CalibrationFile& file, const Gpu& to, const CarryOver& rule) {
  const double peaks = to.bf16 / file.device.bf16;
  if (file.device.architecture == to.architecture) {
    const double factor = peaks * power_clock(file.device, to, rule);
    return {factor, factor, factor};
  }
  const double share = file.gemm.rate / file.device.bf16;
  return {peaks * rule.gemm_share / share, peaks * rule.attention_share, peaks * rule.fused_share};
}

void scale_gemm(GemmCurve& curve, double factor) {
  curve.rate = curve.rate * factor;
  curve.odd_rate = curve.odd_rate * factor;
  curve.evidence.provenance = Provenance::derived;
}

void scale_attention(AttentionKernelCurves& curves, double factor) {
  for (AttentionCurve* curve : {&curves.forward, &curves.backward}) {
    curve->rate = curve->rate * factor;
    curve->evidence.provenance = Provenance::derived;
  }
}

void scale_links(LinkCurves& links, const CarryOver& rule, bool same_architecture) {
  for (LinkCurve* curve : {&links.ring_intra, &links.nvls_intra, &links.pairwise_intra, &links.send_intra}) {
    if (same_architecture) break;
    curve->efficiency = std::min(1.0, curve->efficiency * rule.link_scale);
    curve->base = curve->base * rule.link_latency, curve->hop = curve->hop * rule.link_latency;
    curve->ramp = curve->ramp * rule.link_ramp;
  }
  for (LinkCurve* curve : {&links.ring_intra, &links.nvls_intra, &links.pairwise_intra, &links.send_intra,
                           &links.ring_inter, &links.tree_inter, &links.pairwise_inter, &links.send_inter}) {
    curve->evidence.provenance = Provenance::derived;
  }
  links.nvls = rule.nvls;
  links.tables.value.clear();
}

const CarryOver& rule_for(const Calibration::Data& data, const Gpu& to, const JsonView& root) {
  const auto found = data.carry_over.find(to.architecture);
  if (found != data.carry_over.end()) return found->second;
  std::string legal;
  for (const auto& [name, rule] : data.carry_over) legal += (legal.empty() ? "" : ", ") + name;
  root.at("carry_over")
      .fail("no rule for architecture \"" + to.architecture + "\" of the cluster's GPU; rules for: " + legal);
}

}  // namespace

void carry_over(Calibration::Data& data, const Gpu& to, const JsonView& root) {
  const bool kernels = same_kernels(data.device, to);
  const bool links = alike(data.device.nvlink_one_way.value, to.nvlink_one_way.value);
  if (kernels && links) return;
  const CarryOver& rule = rule_for(data, to, root);
  const bool same_architecture = data.device.architecture == to.architecture;
  scale_links(data.links, rule, same_architecture);
  data.host.handover.value = Seconds(0), data.host.gemm_yields.value = 1;
  data.host.beside.value.clear();  // of one pair of GPUs without a pause: too much for published H100 steps
  data.carried_spread = rule.spread, data.carried_routed_spread = rule.routed_spread;
  if (kernels) return;
  const Factors factors = kernel_factors(data, to, rule);
  scale_gemm(data.gemm, factors.gemm);
  scale_gemm(data.grouped_gemm, factors.gemm);
  scale_attention(data.attention.flash2, factors.flash2);
  scale_attention(data.attention.cudnn, factors.cudnn);
  data.accumulates_apart = *rule.accumulates_apart;
  data.sustained.value.mixes.value.clear();  // of the power of the chip that was measured
  data.sustained.value.gemm *= rule.sustained;
  if (*rule.sustained_low > 0) data.sustained.value.low_over_gemm = *rule.sustained_low / rule.sustained;
  data.attention.exponential = data.attention.exponential * (static_cast<double>(to.sms) / data.device.sms);
  data.elementwise.rate = data.elementwise.rate * (to.memory_rate / data.device.memory_rate);
  data.elementwise.evidence.provenance = Provenance::derived;
  data.device = {data.device.gpu, to.architecture,   to.sms,          to.bf16,
                 to.memory_rate,  to.nvlink_one_way, to.pcie_one_way, to.power};
}

}  // namespace tw
