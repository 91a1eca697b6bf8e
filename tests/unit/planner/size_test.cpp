// Sizing: rows by hand, limits, the search against plan's, and the command as users meet it.
#include "planner/size/size.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "costmodel/goodput.hpp"
#include "planner/plan.hpp"
#include "planner/size/runs.hpp"
#include "tests/support/problems.hpp"
#include "tests/support/program.hpp"

namespace tw {
namespace {

using testing::HasSubstr;
using testing::IsSupersetOf;

// 16 GPUs on 2 nodes; 1000 steps of 10 s.
SizeRow row_of_two_nodes() {
  SizeRow row;
  row.gpus = 16;
  SizePart part;
  part.tokens = 1'024'000, part.global_batch = 8, part.checkpoint = Bytes(1'200'000'000);
  part.best.cost.step_seconds = 10, part.best.tokens_per_s = part.best.unique_tokens_per_s = 102.4;
  row.phases = {{"all", 128, {part}}};
  return row;
}

SizeSettings settings_of_two_nodes() {
  SizeSettings s;
  s.price = DollarsPerSec(2.0 / 3600);
  s.reliability.mtbf_per_gpu = Seconds(16 * 1e5), s.reliability.detect = Seconds(500);
  s.reliability.restart = Seconds(100), s.reliability.storage_per_node = BytesPerSec(1e7);
  return s;
}

TEST(SizeRow, ByHand) {
  const Cluster cluster = load_cluster("h100-sxm");
  const SizeSettings settings = settings_of_two_nodes();
  SizeRow row = row_of_two_nodes();
  fill_row(row, cluster, settings);
  const SizePart& part = row.phases[0].parts[0];
  EXPECT_EQ(part.steps, 1000);  // 1,024,000 tokens of 8 x 128
  EXPECT_EQ(part.steps_time.value, 10000);
  EXPECT_EQ(row.between.value, 1e5);
  EXPECT_DOUBLE_EQ(part.write.value, 60);  // 1.2 GB at 2 x 10 MB/s
  const double share = goodput({Seconds(1e5), Seconds(60), Seconds(600)}, part.interval);
  EXPECT_DOUBLE_EQ(row.time.value, 10000 / share);
  EXPECT_DOUBLE_EQ(row.goodput, share);
  EXPECT_DOUBLE_EQ(row.gpu_hours, 16 * row.time.value / 3600);
  EXPECT_DOUBLE_EQ(row.cost->value, 2 * row.gpu_hours);
  EXPECT_DOUBLE_EQ(row.energy->value, 700 * 16 * row.time.value);
}

TEST(SizeRow, SparesAreBilledAndTheJobWaitsWithoutThem) {
  const Cluster cluster = load_cluster("h100-sxm");
  SizeSettings settings = settings_of_two_nodes();
  SizeRow plain = row_of_two_nodes(), none = plain, one = plain;
  fill_row(plain, cluster, settings);
  settings.reliability.repair = Seconds(1e5);  // one failure during a repair
  settings.reliability.spares = 0;
  fill_row(none, cluster, settings);
  EXPECT_DOUBLE_EQ(none.waiting, 0.5);  // erlang_b(1, 1)
  EXPECT_DOUBLE_EQ(none.time.value, 2 * plain.time.value);
  settings.reliability.spares = 1;
  fill_row(one, cluster, settings);
  EXPECT_DOUBLE_EQ(one.waiting, 0.2);                                 // erlang_b(2, 1)
  EXPECT_DOUBLE_EQ(one.cost->value, 24 * 2 * one.time.value / 3600);  // 16 GPUs and a node of 8
}

TEST(SizeRow, CheapestSparesAreThoseOfAllNumbers) {
  for (const std::int32_t nodes : {1, 8, 256, 2048}) {
    for (const double load : {0.01, 0.5, 3.0, 20.0}) {
      const auto cost = [&](std::int32_t n) { return (nodes + n) / (1 - erlang_b(n + 1, load)); };
      std::int32_t best = 0;
      for (std::int32_t n = 1; n < 200; ++n) {
        if (cost(n) < cost(best)) best = n;
      }
      EXPECT_EQ(cheapest_spares(nodes, load), best) << nodes << " " << load;
    }
  }
}

SizeRow finished(std::int32_t gpus, double time, double cost) {
  SizeRow row;
  row.gpus = gpus, row.time = Seconds(time), row.cost = Dollars(cost);
  return row;
}

TEST(SizeRow, ParetoLeavesOutWhatIsBeatenEverywhere) {
  std::vector<SizeRow> rows = {finished(8, 100, 10), finished(16, 60, 12), finished(32, 60, 13),
                               finished(64, 70, 9)};
  rows.push_back(finished(4, 1, 1));
  rows.back().why_not = "no layout fits in memory";
  mark_pareto(rows);
  EXPECT_TRUE(rows[0].pareto && rows[1].pareto && rows[3].pareto);
  EXPECT_FALSE(rows[2].pareto) << "16 GPUs are as fast and cheaper";
  EXPECT_FALSE(rows[4].pareto);
}

SizeResult result_of(std::vector<SizeRow> rows, double deadline, double budget) {
  SizeResult out;
  out.rows = std::move(rows), out.tokens = 1;
  if (deadline > 0) out.deadline = Seconds(deadline);
  if (budget > 0) out.budget = Dollars(budget);
  answer_size(out);
  return out;
}

TEST(SizeAnswer, CheapestInTimeAndFastestInBudget) {
  const std::vector<SizeRow> rows = {finished(8, 100, 10), finished(16, 60, 12), finished(32, 40, 20)};
  const SizeResult timely = result_of(rows, 70, 0);
  EXPECT_EQ(timely.cheapest, 1u);
  EXPECT_EQ(timely.fastest, 2u);
  const SizeResult affordable = result_of(rows, 0, 15);
  EXPECT_EQ(affordable.cheapest, 0u);
  EXPECT_EQ(affordable.fastest, 1u);
  EXPECT_EQ(result_of(rows, 70, 15).cheapest, 1u);
}

TEST(SizeAnswer, NearestWhereNothingIsInside) {
  const std::vector<SizeRow> rows = {finished(8, 1e6, 10), finished(16, 6e5, 12)};
  const SizeResult late = result_of(rows, 3e5, 0);
  EXPECT_FALSE(late.cheapest);
  EXPECT_THAT(late.nearest.at(0), HasSubstr("the fastest is 3.5 days late: 16 GPUs"));
  EXPECT_THAT(result_of(rows, 0, 9).nearest.at(0), HasSubstr("the cheapest is 1.00 USD over: 8 GPUs"));
  const SizeResult both = result_of(rows, 7e5, 11);
  EXPECT_THAT(both.nearest.at(0), HasSubstr("contradict each other: 16 GPUs"));
  EXPECT_THAT(both.nearest.at(1), HasSubstr("8 GPUs"));
}

TEST(Size, TakesTheLayoutOfPlan) {
  const Inputs inputs = inputs_of("olmoe-1b-7b", "h100-sxm", 256, 4096);
  SizeSettings settings = settings_of_two_nodes();
  settings.gpus = {8, 32}, settings.phases = {{"all", 1'000'000'000, {256}, 4096, {}}};
  const SizeResult sized = make_size(inputs, settings);
  const PlanResult planned = make_plan(inputs, {.gpus = {8, 32}, .fixed = "", .top = 1});
  for (std::size_t i = 0; i < 2; ++i) {
    const Prediction& mine = sized.rows[i].phases[0].parts[0].best;
    EXPECT_EQ(to_string(mine.layout), to_string(planned.counts[i].best[0].layout));
    EXPECT_EQ(sized.rows[i].searched.legal, planned.counts[i].searched.legal);
  }
  ASSERT_TRUE(sized.more);
  EXPECT_EQ(sized.more->row.gpus, sized.rows[*sized.cheapest].gpus + 8 * sized.more->nodes);
}

// All weights: master and moments in fp32. Adapters of rank 4: an A and a B beside each frozen linear.
TEST(Size, CheckpointBytes) {
  const Inputs inputs = inputs_of("tiny-dense", "local-cpu", 8, 64);
  const auto bytes = [](const Inputs& in) {
    const Problem problem(in, 1);
    Evaluator evaluator(problem.job, problem.machine, in.settings);
    return checkpoint_bytes(problem, evaluator).count;
  };
  EXPECT_EQ(bytes(inputs), 12 * count_parameters(inputs.model).total);
  Inputs adapted = inputs;
  adapted.training.lora = Adapters{4, {}, {}};
  const Attention& a = inputs.model.attention();
  const std::int64_t h = inputs.model.hidden, q = std::int64_t{a.heads} * a.head_dim,
                     kv = std::int64_t{a.kv_heads} * a.head_dim, ffn = inputs.model.kinds[0].mlp->ffn;
  const std::int64_t linears = (h + q) + 2 * (h + kv) + (q + h) + 3 * (h + ffn);
  EXPECT_EQ(bytes(adapted), 12 * 4 * linears * inputs.model.layers());
}

TEST(Size, EveryRunAndOperationLoads) {
  for (const PublishedRun& run : all_runs()) EXPECT_GT(run.gpus, 0) << run.title;
  // 16,384 x 54 d / 419 = 2111.5 d.
  EXPECT_NEAR(mtbf_per_gpu(load_run("llama-3.1-405b")).value / 86400, 2111.5, 0.1);
  EXPECT_THROW(mtbf_per_gpu(load_run("deepseek-v3")), InputError);
}

std::vector<std::string> size_args(const std::vector<std::string>& more) {
  std::vector<std::string> out = {"size", "--model", "olmoe-1b-7b", "--cluster", "h100-sxm", "--global-batch",
                                  "256",  "--seq",   "4096",        "--tokens",  "1T",       "--gpus",
                                  "8,32"};
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

TEST(SizeCommand, JsonHasItsKeys) {
  const Workspace workspace;
  const Ran ran = workspace.run(size_args({"--price", "2 USD/h", "--json", "-"}));
  ASSERT_EQ(ran.code, 0) << ran.err;
  const JsonView json = parse_json(ran.out, "size");
  EXPECT_THAT(json.keys(), IsSupersetOf({"schema", "tokens", "answer", "cheapest_gpus", "fastest_gpus",
                                         "reliability", "rows", "nearest", "next", "published"}));
  EXPECT_THAT(json.at("rows")[0].keys(),
              IsSupersetOf({"gpus", "searched", "days", "goodput", "gpu_hours", "cost_usd", "energy_mwh",
                            "pareto", "phases", "spare_nodes", "stragglers"}));
  EXPECT_GT(json.at("rows")[1].at("energy_mwh").number(), 0);
}

TEST(SizeCommand, SaysWhatIsWrongOrNearest) {
  const Workspace workspace;
  const struct {
    std::vector<std::string> args;
    int code;
    const char* says;
  } cases[] = {
      {{"--price", "0 USD/h"}, 2, "must be more than zero; left out, GPU-hours are compared"},
      {{"--budget", "5M USD"}, 2, "needs --price"},
      {{"--deadline", "30"}, 2, "a bare number"},
      {{"--deadline", "0 d"}, 2, "must be more than zero"},
      {{"--spares", "2"}, 2, "needs --repair"},
      {{"--mtbf", "1 furlong"}, 2, "wrong unit"},
      {{"--operations", "nowhere"}, 2, "published"},
      {{"--deadline", "1 h"}, 3, "the fastest is"},
      {{"--price", "2 USD/h", "--budget", "1 USD"}, 3, "the cheapest is"},
      {{"--fix", "tp=8,pp=16"}, 3, "no layout"},
      {{"--headroom", "78 GiB"}, 3, "no layout fits in memory"},
  };
  for (const auto& each : cases) {
    const Ran ran = workspace.run(size_args(each.args));
    EXPECT_EQ(ran.code, each.code) << ran.err << ran.out;
    EXPECT_THAT(ran.err + ran.out, HasSubstr(each.says));
  }
}

// Parts of a node, and NVLink domains of which jobs take 64 of 72: whole steps to the next legal number.
TEST(SizeCommand, TheNextNodeIsALegalNumber) {
  const Workspace workspace;
  const auto next = [&](const char* cluster, const char* gpus) {
    const Ran ran = workspace.run({"size", "--model", "llama-3.2-1b", "--cluster", cluster, "--global-batch",
                                   "256", "--seq", "2048", "--tokens", "1B", "--gpus", gpus, "--json", "-"});
    EXPECT_EQ(ran.code, 0) << ran.err;
    return parse_json(ran.out, "size").at("next").at("gpus").integer();
  };
  EXPECT_EQ(next("h100-sxm", "4"), 8);
  EXPECT_EQ(next("gb200-nvl72", "64"), 128);
}

// 16,384 GPUs and 419 interruptions in 54 days: "higher than 90% effective training time".
TEST(SizeCommand, LlamaKeepsNineTenthsOfItsTime) {
  const Workspace workspace;
  const Ran ran =
      workspace.run({"size", "--model", "llama-3.1-405b", "--cluster", "h100-sxm", "--global-batch", "2048",
                     "--seq", "8192", "--tokens", "15.6T", "--gpus", "16384", "--storage-rate", "2 TB/s",
                     "--fix", "tp=8,pp=16,cp=1,vpp=1", "--json", "-"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const JsonView json = parse_json(ran.out, "size");
  EXPECT_GE(json.at("rows")[0].at("goodput").number(), 0.9);
  EXPECT_EQ(json.at("published")[0].at("effective_time").number(), 0.9);
}

}  // namespace
}  // namespace tw
