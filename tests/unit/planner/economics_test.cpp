// Staged training to the cent, dense against MoE at an equal step, and jobs of several phases.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "planner/economics/equal_step.hpp"
#include "planner/economics/staged.hpp"
#include "planner/search.hpp"
#include "planner/size/job_file.hpp"
#include "planner/space.hpp"
#include "tests/support/problems.hpp"
#include "tests/support/program.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

using testing::HasSubstr;

// Table 3 of MoE-DisCo: baseline, submodels, whole, sum, in dollars; section 4.4: savings.
TEST(Staged, TheSixRowsOfMoeDiscoToTheCent) {
  const struct {
    double baseline, submodels, whole, sum, saving;
  } published[] = {{22.5036, 2.9260, 3.9444, 6.8704, 0.695},  {6.9312, 1.7920, 1.5504, 3.3424, 0.518},
                   {29.9136, 4.3680, 6.5436, 10.9116, 0.635}, {12.8592, 2.1560, 4.5828, 6.7388, 0.476},
                   {16.9860, 2.0440, 6.0876, 8.1316, 0.522},  {32.1252, 4.2140, 10.9212, 15.1352, 0.529}};
  const StagedResult r = staged("moe-disco");
  ASSERT_EQ(r.rows.size(), 6u);
  EXPECT_NEAR(r.price_ratio, 0.35 / 2.28, 1e-12);
  for (std::size_t i = 0; i < 6; ++i) {
    const StagedRow& row = r.rows[i];
    EXPECT_NEAR(row.baseline.cost.value, published[i].baseline, 5e-5) << row.name;
    EXPECT_NEAR(row.stages[0].cost.value, published[i].submodels, 5e-5) << row.name;
    EXPECT_NEAR(row.stages[1].cost.value, published[i].whole, 5e-5) << row.name;
    EXPECT_FALSE(row.stages[0].waiting) << "only the slowest is known";
    EXPECT_NEAR(row.cost.value, published[i].sum, 5e-5) << row.name;
    EXPECT_NEAR(row.saving, published[i].saving, 0.00075) << row.name;  // 52.128 is printed as 52.2
  }
  // (9.87 - 1.73) h of an A100 buy 4 x 2.09 h of an RTX 4090 at 8.14 / 8.36 of its price.
  EXPECT_NEAR(*r.rows[0].break_even, 8.14 / 8.36, 1e-12);
}

TEST(Staged, WaitingIsBilledUntilTheSlowestIsDone) {
  const Workspace workspace;
  const std::string path = workspace.path("stages.json");
  write_file(path, R"({"title": "t", "source": "planted", "price_of_gpu": {"a": "1 USD/h", "b": "10 USD/h"},
    "rows": [{"name": "r", "baseline": {"gpu": "b", "gpus": 2, "times": ["5 h"]},
              "stages": [{"gpu": "a", "gpus": 3, "times": ["4 h", "1 h", "2 h"]},
                         {"gpu": "b", "gpus": 1, "times": ["20 h"]}]}]})");
  const StagedRow row = staged(path).rows.at(0);
  EXPECT_NEAR(row.stages[0].cost.value, 12, 1e-9);
  EXPECT_NEAR(row.stages[0].waiting->value, 5, 1e-9);  // 3 h and 2 h
  EXPECT_EQ(row.stages[1].waiting->value, 0);
  EXPECT_NEAR(row.saving, 1 - 212.0 / 100, 1e-9);
  EXPECT_FALSE(row.break_even) << "the last stage alone costs more than the baseline";
}

TEST(Staged, RefusesInOurWords) {
  const Workspace workspace;
  const auto refused = [&](const std::string& rows, const std::string& prices) {
    const std::string path = workspace.path("stages.json");
    write_file(path, R"({"title": "t", "source": "planted", "price_of_gpu": {)" + prices + R"(}, "rows": [)" +
                         rows + "]}");
    const Ran ran = workspace.run({"staged", "--stages", path});
    EXPECT_EQ(ran.code, 2) << ran.out;
    return ran.err;
  };
  const std::string good = R"({"gpu": "a", "gpus": 1, "times": ["1 h"]})";
  const auto row = [&](const std::string& stage) {
    return R"({"name": "r", "baseline": )" + good + R"(, "stages": [)" + stage + "]}";
  };
  EXPECT_THAT(refused("", R"("a": "1 USD/h")"), HasSubstr("rows: is empty"));
  EXPECT_THAT(refused(row(""), R"("a": "1 USD/h")"), HasSubstr("stages: is empty"));
  EXPECT_THAT(refused(row(good), R"("a": "0 USD/h")"), HasSubstr("must be more than zero"));
  EXPECT_THAT(refused(row(good), R"("b": "1 USD/h")"), HasSubstr("price_of_gpu has no \"a\""));
  EXPECT_THAT(refused(row(R"({"gpu": "a", "gpus": 3, "times": ["1 h", "2 h"]})"), R"("a": "1 USD/h")"),
              HasSubstr("one for each GPU"));
  EXPECT_THAT(refused(row(R"({"gpu": "a", "gpus": 1, "times": []})"), R"("a": "1 USD/h")"),
              HasSubstr("times"));
}

TEST(EqualStep, TheMoeOfTheFamily) {
  const Model dense = load_model("llama-3.1-8b");
  const Model moe = moe_of(dense, {.experts = 8, .top_k = 2, .every = 2, .tokens = {}, .fixed = ""}, 1024);
  EXPECT_EQ(moe.layers(), 32);
  EXPECT_TRUE(moe.layer(0).mlp && !moe.layer(0).moe);
  EXPECT_TRUE(moe.layer(1).moe && !moe.layer(1).mlp);
  // 16 MLPs of 3 x 4096 x 14336 give way to 8 experts of 3 x 4096 x 1024 and a router of 4096 x 8.
  const std::int64_t less = 16 * 3LL * 4096 * 14336, more = 16 * (8 * 3LL * 4096 * 1024 + 4096LL * 8);
  EXPECT_EQ(count_parameters(moe).total, count_parameters(dense).total - less + more);
}

TEST(EqualStep, TheWidestThatIsNotSlowerAndItsTokens) {
  Inputs in = inputs_of("llama-3.1-8b", "h100-sxm:16", 64, 4096);
  const EqualStepSettings settings{
      .experts = 8, .top_k = 2, .every = 4, .tokens = 1'000'000'000, .fixed = "pp=1,cp=1"};
  const EqualStepResult r = equal_step(in, settings);
  ASSERT_EQ(r.rows.size(), 3u) << r.why_not;
  const double dense = r.rows[0].best.cost.step_seconds;
  EXPECT_LE(r.rows[1].best.cost.step_seconds, dense);
  in.model = moe_of(in.model, settings, r.rows[1].ffn + kWidthStep);
  const Problem problem(in, 16);
  const SearchResult wider = search(problem, space_of(problem, settings.fixed), {.top = 1}, {});
  EXPECT_GT(wider.best.at(0).cost.step_seconds, dense);
  EXPECT_DOUBLE_EQ(r.rows[0].tokens_by_time, 1e9);
  EXPECT_DOUBLE_EQ(r.rows[1].tokens_by_time * r.rows[1].best.cost.step_seconds, 1e9 * dense);
  EXPECT_NEAR(r.rows[1].tokens_by_flops * r.rows[1].flops_per_token, r.budget_flops, 1e-6 * r.budget_flops);
  EXPECT_GE(r.assumptions.size(), 6u);
}

TEST(EqualStep, RefusesInOurWords) {
  const Workspace workspace;
  const auto run = [&](const std::vector<std::string>& more, const char* model = "llama-3.2-1b") {
    std::vector<std::string> args = {"equal-step",     "--model", model,   "--cluster", "h100-sxm:8",
                                     "--global-batch", "64",      "--seq", "2048"};
    args.insert(args.end(), more.begin(), more.end());
    const Ran ran = workspace.run(args);
    EXPECT_EQ(ran.code, 2) << ran.out;
    return ran.err;
  };
  EXPECT_THAT(run({"--experts", "0"}), HasSubstr("--experts"));
  EXPECT_THAT(run({"--experts", "8", "--top-k", "9"}), HasSubstr("--top-k"));
  EXPECT_THAT(run({"--experts", "8", "--tokens", "many"}), HasSubstr("--tokens"));
  EXPECT_THAT(run({"--experts", "8"}, "olmoe-1b-7b"), HasSubstr("has experts already"));
}

std::string job_of(const std::string& more) {
  return R"({"phases": [{"name": "p", "tokens": "1B tokens", "seq": 1024, "global_batch": 64)" + more + "}]}";
}

JobPhase phase_of(const std::string& more) {
  const Workspace workspace;
  const std::string path = workspace.path("job.json");
  write_file(path, job_of(more));
  return load_job(path).at(0);
}

TEST(JobFile, RampsDocumentsAndAdapters) {
  EXPECT_THAT(phase_of("").batches, testing::ElementsAre(64));
  EXPECT_THAT(phase_of(R"(, "ramp": {"from": 16, "parts": 4})").batches,
              testing::ElementsAre(16, 32, 48, 64));
  // Packed: (512^2 + 1024^2) / (512 + 1024), the second cut at the sequence.
  EXPECT_DOUBLE_EQ(*phase_of(R"(, "documents": {"lengths": [512, 4096], "how": "packed"})").training.document,
                   1310720.0 / 1536);
  EXPECT_DOUBLE_EQ(*phase_of(R"(, "documents": {"lengths": [512, 4096], "how": "padded"})").training.valid,
                   0.75);
  EXPECT_EQ(phase_of(R"(, "lora": {"rank": 8})").training.lora->rank, 8);
}

TEST(JobFile, RefusesInOurWords) {
  for (const auto& [more, says] : std::vector<std::pair<std::string, std::string>>{
           {R"(, "ramp": {"from": 64, "parts": 4})", "ramp.from"},
           {R"(, "ramp": {"from": 16, "parts": 6})", "no whole number of steps"},
           {R"(, "ramp": {"from": 16, "parts": 1})", "ramp.parts"},
           {R"(, "documents": {"lengths": [], "how": "packed"})", "lengths: is empty"},
           {R"(, "documents": {"lengths": [9], "how": "loose"})", "packed, padded"},
           {R"(, "lora": {"rank": 0})", "lora.rank"},
           {R"(, "frozen": true)", "unknown key"}}) {
    try {
      phase_of(more);
      ADD_FAILURE() << more;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(says));
    }
  }
}

// Half of the tokens are padding: twice the steps. Adapters: a smaller checkpoint. Flags beside it: refused.
TEST(JobFile, SizesPhases) {
  const Workspace workspace;
  const std::string path = workspace.path("job.json");
  write_file(path, R"({"phases": [
    {"name": "all", "tokens": "1B tokens", "seq": 2048, "global_batch": 64},
    {"name": "padded", "tokens": "1B tokens", "seq": 2048, "global_batch": 64,
     "documents": {"lengths": [1024], "how": "padded"}, "lora": {"rank": 8}}]})");
  std::vector<std::string> args = {"size",      "--job",    path,     "--model", "llama-3.2-1b",
                                   "--cluster", "h100-sxm", "--gpus", "8",       "--json",
                                   "-"};
  const Ran ran = workspace.run(args);
  ASSERT_EQ(ran.code, 0) << ran.err;
  const JsonView phases = parse_json(ran.out, "size").at("rows")[0].at("phases");
  const JsonView all = phases[0].at("parts")[0], padded = phases[1].at("parts")[0];
  EXPECT_EQ(all.at("steps").number(), 7630);  // 1e9 / 131,072, the last begun
  EXPECT_EQ(padded.at("steps").number(), 15259);
  EXPECT_LT(padded.at("checkpoint_gib").number(), 0.05 * all.at("checkpoint_gib").number());
  args.insert(args.end(), {"--tokens", "1T"});
  EXPECT_THAT(workspace.run(args).err, HasSubstr("--tokens: stands in the job's file"));
}

}  // namespace
}  // namespace tw
