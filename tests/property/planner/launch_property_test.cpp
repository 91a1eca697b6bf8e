// Export, then check, of random plans: the same layout and the same prediction; what a target cannot express
// is refused by name.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <map>
#include <random>

#include "planner/enumerate.hpp"
#include "planner/preflight/check.hpp"
#include "planner/space.hpp"
#include "tests/support/problems.hpp"
#include "topology/check.hpp"
#include "topology/json.hpp"
#include "topology/registry.hpp"

namespace tw::preflight {
namespace {

// Of each target; a sanitized one costs 50 times as much.
#ifdef __SANITIZE_ADDRESS__
constexpr int kPlans = 4;
#else
constexpr int kPlans = 200;
#endif

struct Job {
  const char* model;
  const char* cluster;
  std::int64_t batch;
  std::int32_t seq;
};
constexpr Job kJobs[] = {
    {"llama-3.1-8b", "h100-sxm:16", 64, 8192},  {"llama-3.1-70b", "h100-sxm:64", 128, 4096},
    {"mixtral-8x7b", "h100-sxm:32", 64, 4096},  {"qwen3-30b-a3b", "h100-sxm:16", 64, 4096},
    {"qwen3-14b", "h200-sxm:16", 32, 4096},     {"mixtral-8x22b", "h100-sxm:128", 256, 4096},
    {"llama-3.2-1b", "h100-sxm:8", 32, 4096},   {"deepseek-v2-lite", "h100-sxm:16", 64, 4096},
    {"gpt-oss-20b", "h100-sxm:16", 64, 8192},   {"gpt3-175b", "a100-80g-sxm:128", 128, 2048},
    {"glm-4.5-air", "h100-sxm:128", 128, 4096}, {"qwen2.5-72b", "h100-sxm:64", 128, 4096}};

struct Target {
  const char* name;
  const char* framework;
};
constexpr Target kTargets[] = {
    {"megatron", "megatron"}, {"torchtitan", "torchtitan"}, {"deepspeed", "deepspeed"}, {"nemo", "nemo"}};

// Legal layouts of the framework that fit, a few of each model, drawn by a fixed seed.
std::vector<Layout> feasible(const Inputs& inputs, std::mt19937& random, std::size_t wanted) {
  const Problem problem(inputs, inputs.cluster.gpus);
  std::vector<Layout> all;
  SearchSpace space = space_of(problem, "");
  space.cp_kinds = mask_of(CpKind::zigzag) | mask_of(CpKind::a2a);
  for_each_layout(space, problem.job, [&](const Layout& layout, Link) {
    if (random() % 7 == 0 || all.size() < 64) all.push_back(layout);
  });
  std::shuffle(all.begin(), all.end(), random);
  Evaluator evaluator(problem.job, problem.machine, inputs.settings);
  std::vector<Layout> out;
  for (const Layout& layout : all) {
    if (out.size() == wanted) break;
    if (evaluator.cost_if_fits(layout).fits) out.push_back(layout);
  }
  return out;
}

struct Counts {
  int equal = 0, refused = 0;
  std::map<std::string, int> reasons;
};

void expect_same(const Target& target, const Inputs& inputs, const Layout& layout, const std::string& cluster,
                 Counts& counts) {
  const LaunchFormat& format = *find_row(all_launch(), target.name);
  ExportAsk ask{&inputs.model, layout, inputs.global_batch, inputs.seq, inputs.cluster.node.gpus};
  std::string text;
  try {
    text = format.write(ask);
  } catch (const InputError& refused) {
    ++counts.refused, ++counts.reasons[refused.what()];
    return;
  }
  const std::string path = std::string(TW_BINARY_DIR) + "/exported-" + target.name +
                           (std::string(target.name) == "torchtitan" ? ".toml" : ".sh");
  write_file(path, text);
  CheckAsk check;
  check.launch.file = path, check.asked.cluster = cluster, check.asked.framework = "", check.search = false;
  const CheckResult result = check_launch(check);
  const Problem problem(inputs, inputs.cluster.gpus);
  Evaluator evaluator(problem.job, problem.machine, inputs.settings);
  const Prediction own = predict(evaluator, layout);
  ASSERT_TRUE(result.prediction.has_value()) << target.name << " " << to_string(layout) << "\n"
                                             << to_text(result, {}, false) << text;
  EXPECT_EQ(to_string(*result.layout), to_string(layout)) << target.name << " " << inputs.model.name << "\n"
                                                          << text;
  EXPECT_EQ(result.format, target.name);
  EXPECT_EQ(result.question->model, inputs.model.name) << text;
  EXPECT_DOUBLE_EQ(result.prediction->cost.step_seconds, own.cost.step_seconds) << to_string(layout) << "\n"
                                                                                << text;
  EXPECT_EQ(result.prediction->cost.memory.total(), own.cost.memory.total()) << to_string(layout) << "\n"
                                                                             << text;
  for (const Finding& each : result.findings)
    EXPECT_NE(each.severity, Severity::fail) << each.text << "\n" << to_string(layout) << "\n" << text;
  ++counts.equal;
}

class RoundTrip : public testing::TestWithParam<Target> {};

TEST_P(RoundTrip, OfRandomFeasiblePlansIsEqual) {
  const Target target = GetParam();
  std::mt19937 random(20261122);
  Counts counts;
  for (int round = 0; round < 6 && counts.equal < kPlans; ++round) {
    for (const Job& job : kJobs) {
      const Inputs inputs = inputs_of(job.model, job.cluster, job.batch, job.seq, target.framework);
      for (const Layout& layout : feasible(inputs, random, 24)) {
        if (counts.equal < kPlans) expect_same(target, inputs, layout, job.cluster, counts);
        if (HasFatalFailure() || testing::Test::HasNonfatalFailure()) return;
      }
    }
  }
  EXPECT_EQ(counts.equal, kPlans);
  std::string reasons;
  for (const auto& [reason, count] : counts.reasons) reasons += fmt::format("\n  {} x {}", count, reason);
  std::printf("%s: %d equal, %d refused by name%s\n", target.name, counts.equal, counts.refused,
              reasons.c_str());
}

INSTANTIATE_TEST_SUITE_P(Targets, RoundTrip, testing::ValuesIn(kTargets),
                         [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace tw::preflight
