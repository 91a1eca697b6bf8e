#include "planner/suite.hpp"

#include <fmt/format.h>

#include "planner/plan.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

struct SuiteProblem {
  const char* model;
  const char* cluster;
  const char* global_batch;
  const char* seq;
  const char* framework;
};

// Dense and MoE, small and large, each family of attention, each link tier, both profiles.
constexpr SuiteProblem kSuite[] = {
    {"llama-3.1-8b", "h100-sxm:8", "128", "8192", "megatron"},
    {"llama-3.1-70b", "h100-sxm:128", "256", "8192", "megatron"},
    {"llama-3.1-405b", "h100-sxm:1024", "1024", "8192", "megatron"},
    {"mixtral-8x22b", "h100-sxm:128", "256", "4096", "megatron"},
    {"deepseek-v2-lite", "a100-80g-sxm:32", "512", "4096", "megatron"},
    {"qwen3-30b-a3b", "h200-sxm:64", "512", "4096", "torchtitan"},
    {"gpt-oss-20b", "l40s-pcie:16", "64", "4096", "megatron"},
    {"gpt3-175b", "gb200-nvl72:72", "1152", "2048", "megatron"},
};
constexpr std::size_t kSuiteTop = 3;

// FNV-1a, 64 bits.
std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

std::string text_of(const CountResult& count) {
  const Searched& s = count.searched;
  std::string out = fmt::format("{} {} {} {}", s.legal, s.evaluated, s.refused_by_memory, s.pruned_by_bound);
  for (const Prediction& p : count.best) {
    out += fmt::format("; {} {:.5e} {:.5e}", to_string(p.layout), p.cost.step_seconds,
                       static_cast<double>(p.cost.memory.total()));
  }
  return out;
}

std::string name_of(const SuiteProblem& p) {
  return fmt::format("{} on {}, {} x {}, {}", p.model, p.cluster, p.global_batch, p.seq, p.framework);
}

}  // namespace

std::vector<std::string> suite_problems() {
  std::vector<std::string> out;
  for (const SuiteProblem& problem : kSuite) out.push_back(name_of(problem));
  return out;
}

SuiteRow run_suite_problem(std::size_t index) {
  TW_CHECK(index < std::size(kSuite));
  const SuiteProblem& p = kSuite[index];
  Asked asked;
  asked.model = p.model, asked.cluster = p.cluster, asked.framework = p.framework;
  asked.global_batch = p.global_batch, asked.seq = p.seq;
  const Inputs inputs = load_inputs(asked);
  PlanSettings settings;
  settings.gpus = {inputs.cluster.gpus}, settings.top = kSuiteTop;
  const PlanResult plan = make_plan(inputs, settings);
  const CountResult& count = plan.counts.front();
  SuiteRow out{name_of(p), count.searched, {}, 0, fmt::format("{:016x}", hash_of(text_of(count)))};
  if (count.best.empty()) return out;
  out.best = to_string(count.best.front().layout), out.step_seconds = count.best.front().cost.step_seconds;
  return out;
}

std::string signature_of(const std::vector<SuiteRow>& rows) {
  std::string all;
  for (const SuiteRow& row : rows) all += row.signature;
  return fmt::format("{:016x}", hash_of(all));
}

}  // namespace tw
