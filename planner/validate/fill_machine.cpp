#include "planner/validate/fill_machine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "planner/validate/words.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw::validate {
namespace {

struct GpuRow {
  std::string_view needle;  // in the letters and digits of the row's GPU
  std::string_view cluster;
};
// First match wins.
constexpr GpuRow kGpus[] = {{"gb300", "gb300-nvl72"},
                            {"gb200", "gb200-nvl72"},
                            {"b300", "b300"},
                            {"b200", "b200-sxm"},
                            {"hbm2e", "h100-96gb-hbm2e-500w"},
                            {"h10096gb", "h100-96gb-hbm2e-500w"},
                            {"h10095gb", "h100-96gb-hbm2e-500w"},
                            {"h200", "h200-sxm"},
                            {"h800", "h800"},
                            {"h100", "h100-sxm"},
                            {"a10040", "a100-40g"},
                            {"a100sxm440", "a100-40g"},
                            {"a100", "a100-80g-sxm"},
                            {"l40s", "l40s-pcie"},
                            {"4090", "rtx-4090"}};

std::string cluster_name(const RowCluster& c) {
  if (!c.name.empty()) return c.name;
  const std::string gpu = letters_and_digits(c.gpu);
  for (const GpuRow& row : kGpus) {
    if (gpu.find(row.needle) != std::string::npos) return std::string(row.cluster);
  }
  return {};
}

bool exists(std::string_view kind, std::string_view name) {
  const std::vector<std::string> names = scenario_names(kind);
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Sources take any number of GPUs of a node; the catalogue lists the usual ones.
void allow_size(Cluster& cluster, std::int32_t gpus) {
  const std::int32_t common = std::gcd(cluster.node.gpus, gpus);
  if (gpus < cluster.node.gpus || common == cluster.node.gpus) return;
  auto& uses = cluster.node.also_used_as.value;
  const bool whole_nics = std::int64_t{cluster.node.nics} * common % cluster.node.gpus == 0;
  if (whole_nics && std::find(uses.begin(), uses.end(), common) == uses.end()) uses.push_back(common);
  std::sort(uses.begin(), uses.end(), std::greater<>());
}

void set_network_rate(Cluster& cluster, double gbps, std::vector<std::string>& filled) {
  const auto rate = parse_unit<BytesPerSec>(fmt::format("{} Gb/s", gbps));
  if (!rate.value || cluster.node.nics == 0) return;
  const double per_gpu = rate.value->value * cluster.node.gpus / cluster.node.nics;
  constexpr double kSame = 0.01;
  if (std::abs(per_gpu / cluster.node.nic_rate.value - 1) < kSame) return;
  cluster.node.nic_rate = BytesPerSec(per_gpu);
  filled.push_back(fmt::format("cluster: network of {} Gb/s per GPU as the row says", gbps));
}

const char* kSuffixes[] = {"-compiled", "-eager"};

std::string variant(const std::string& name, const Row& row) {
  const bool eager = row.layout.compiled ? !*row.layout.compiled : mentions(row.notes, "eager");
  const std::string wanted = name + kSuffixes[eager ? 1 : 0];
  return exists("frameworks", wanted) ? wanted : name;
}

// The first that is there, its compiled or eager variant where it has one.
std::string first_there(const std::vector<std::string>& names, const Row& row) {
  for (const std::string& name : names) {
    const std::string chosen = variant(name, row);
    if (exists("frameworks", chosen)) return chosen;
  }
  return "megatron";
}

template <class E>
void set_named(E& member, const std::string& text) {
  if (text.empty()) return;
  for (const auto& [value, name] : enum_names(static_cast<const E*>(nullptr))) {
    if (letters_and_digits(name) == letters_and_digits(text)) member = value;
  }
}

void apply_state(const RowLayout& l, StateMechanisms& state) {
  if (const auto master = read_dtype_words(l.master_dtype)) {
    state.master = state.moments = *master;
    state.low_precision_copy = state.low_precision_copy && *master != DType::bf16;
  }
  if (const auto reduce = read_dtype_words(l.reduce_dtype)) state.reduce = *reduce;
  if (!l.reduce_every.empty()) state.reduce_every_microbatch = mentions(l.reduce_every, "micro");
}

void apply_row(const RowLayout& l, Profile& p, std::vector<std::string>& filled) {
  apply_state(l, p.state);
  if (p.replicated_state) apply_state(l, *p.replicated_state);
  set_named(p.kernels.attention, l.attention_kernel);
  if (mentions(l.attention_kernel, "math") || mentions(l.attention_kernel, "eager")) {
    p.kernels.attention = AttentionKernel::unfused;
  }
  if (l.loss_kernel.empty()) return;
  if (l.loss_kernel == "whole") {
    p.kernels.loss = LossKernel::whole;
    return;
  }
  const bool fused = !mentions(l.loss_kernel, "unfused") && !mentions(l.loss_kernel, "torch");
  p.kernels.fused_loss = fused;
  p.memory.logit_copies = fused ? std::min(p.memory.logit_copies, 0.5) : std::max(p.memory.logit_copies, 2.0);
  filled.push_back(fmt::format("loss kernel {}: read as {}", l.loss_kernel, fused ? "fused" : "unfused"));
}

void apply_effects(const std::vector<TextRule>& effects, Profile& p) {
  for (const TextRule& effect : effects) {
    if (effect.set == TextEffect::tp_overlap) p.kernels.tp_overlap = true;
    if (effect.set != TextEffect::no_overlap) continue;
    p.state.overlap_reduce = p.state.overlap_gather = p.kernels.tp_overlap = false;
    if (p.replicated_state) p.replicated_state->overlap_reduce = p.replicated_state->overlap_gather = false;
  }
}

}  // namespace

FilledCluster fill_cluster(const Row& row, std::vector<std::string>& filled) {
  const std::string name = cluster_name(row.cluster);
  if (name.empty() && row.cluster.gpu.empty()) return {{}, "cluster.gpu is missing"};
  if (name.empty())
    return {{}, "cluster.gpu " + printable(row.cluster.gpu) + " is not in scenarios/clusters"};
  if (!row.cluster.gpus) return {{}, "cluster.gpus is missing"};
  Cluster cluster = load_cluster(name);
  allow_size(cluster, *row.cluster.gpus);
  if (row.cluster.inter_link_gbps_per_gpu)
    set_network_rate(cluster, *row.cluster.inter_link_gbps_per_gpu, filled);
  return {resized(cluster, *row.cluster.gpus), {}};
}

Profile fill_profile(const Row& row, Scenarios& scenarios, const std::string& framework,
                     std::vector<std::string>& filled) {
  const SourceRules& rules = scenarios.rules();
  const SourceRule& rule = rules.of(row);
  std::string name = framework;
  if (name.empty() && !row.layout.framework.empty()) {
    const std::string said = lower(row.layout.framework);
    if (exists("frameworks", variant(said, row))) name = variant(said, row);
  }
  if (name.empty()) {
    name = first_there(rule.frameworks, row);
    filled.push_back("framework: " + name + " by its source");
  }
  Profile profile = profile_of(scenarios.file("frameworks", name));
  if (rule.attention) set_named(profile.kernels.attention, *rule.attention);
  profile.kernels.tp_overlap = rule.tp_overlap.value_or(profile.kernels.tp_overlap);
  if (const auto gradient = read_dtype_words(rule.gradient.value_or("")))
    profile.state.gradient = profile.state.reduce = *gradient;
  apply_row(row.layout, profile, filled);
  apply_effects(rules.effects(row), profile);
  return profile;
}

}  // namespace tw::validate
