// The program as users and tools meet it: exit codes, JSON keys of the contract, quiet and repeatable.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/program.hpp"

namespace tw {
namespace {

using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::StartsWith;

using Args = std::vector<std::string>;

Args joined_args(Args first, const Args& more) {
  first.insert(first.end(), more.begin(), more.end());
  return first;
}
Args predict(const Args& more = {}) {
  return joined_args({"predict", "--model", "olmoe-1b-7b", "--cluster", "h100-sxm:8", "--global-batch", "32",
                      "--seq", "4096", "--layout", "tp=2,ep=4,sp=1,zero=1,recompute=full"},
                     more);
}
Args plan(const Args& more = {}) {
  return joined_args(
      {"plan", "--model", "olmoe-1b-7b", "--cluster", "h100-sxm:8", "--global-batch", "32", "--seq", "4096"},
      more);
}

const Args kPredictKeys = {"schema",
                           "model",
                           "cluster",
                           "calibration",
                           "framework",
                           "layout",
                           "global_batch",
                           "seq",
                           "feasible",
                           "reasons",
                           "step_time_s",
                           "step_time_low_s",
                           "step_time_high_s",
                           "tokens_per_s",
                           "unique_tokens_per_s",
                           "parameters",
                           "active_parameters",
                           "tokens_per_s_per_gpu",
                           "model_tflops_per_gpu",
                           "mfu",
                           "hfu",
                           "memory_gib",
                           "stages",
                           "terms"};
const Args kMemoryKeys = {"peak",   "parameters", "gradients",     "optimizer", "activations",
                          "logits", "temporary",  "communicators", "context",   "slack"};

void expect_prediction(const JsonView& p) {
  EXPECT_THAT(p.keys(), IsSupersetOf(kPredictKeys));
  EXPECT_THAT(p.at("memory_gib").keys(), testing::ElementsAreArray(kMemoryKeys));
  double parts = 0;
  for (std::size_t i = 1; i < kMemoryKeys.size(); ++i)
    parts += p.at("memory_gib").at(kMemoryKeys[i]).number();
  EXPECT_NEAR(parts, p.at("memory_gib").at("peak").number(), 1e-9 * parts);
  ASSERT_GT(p.at("stages").size(), 0u);
  double worst = 0, exposed = 0;
  for (std::size_t i = 0; i < p.at("stages").size(); ++i) {
    const JsonView stage = p.at("stages")[i];
    EXPECT_THAT(stage.keys(), IsSupersetOf(Args{"memory_gib", "time_s"}));
    worst = std::max(worst, stage.at("memory_gib").at("peak").number());
  }
  EXPECT_EQ(worst, p.at("memory_gib").at("peak").number());
  for (std::size_t i = 0; i < p.at("terms").size(); ++i) {
    const JsonView term = p.at("terms")[i];
    EXPECT_THAT(term.keys(), IsSupersetOf(Args{"name", "seconds", "exposed_seconds", "source"}));
    exposed += term.at("exposed_seconds").number();
  }
  const double step = p.at("step_time_s").number();
  EXPECT_NEAR(exposed, step, 1e-5 * step);  // terms are floats
  EXPECT_LT(p.at("step_time_low_s").number(), step);
  EXPECT_GT(p.at("step_time_high_s").number(), step);
  EXPECT_NEAR(p.at("tokens_per_s").number() * step, p.at("global_batch").number() * p.at("seq").number(),
              1e-3);
}

TEST(Predict, JsonHasTheKeysOfTheContract) {
  const Workspace workspace;
  const Ran ran = workspace.run(predict({"--json", "-"}));
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.err, "");
  expect_prediction(parse_json(ran.out, "stdout"));
}

TEST(Predict, ALayoutThatDoesNotFitExitsThreeAndSaysByHowMuch) {
  const Workspace workspace;
  const Args args = {"predict", "--model", "llama-3.1-70b", "--cluster", "h100-sxm:8", "--global-batch",
                     "8",       "--seq",   "4096",          "--layout",  "tp=8",       "--json",
                     "-"};
  const Ran ran = workspace.run(args);
  EXPECT_EQ(ran.code, 3);
  const JsonView result = parse_json(ran.out, "stdout");
  EXPECT_FALSE(result.at("feasible").boolean());
  const JsonView reason = result.at("reasons")[0];
  EXPECT_EQ(reason.at("term").string(), "memory");
  EXPECT_EQ(reason.at("unit").string(), "GiB");
  EXPECT_GT(reason.at("needed").number(), reason.at("available").number());
  EXPECT_EQ(reason.at("needed").number(), result.at("memory_gib").at("peak").number());
  const Ran text = workspace.run(Args(args.begin(), args.end() - 2));
  EXPECT_EQ(text.code, 3);
  EXPECT_THAT(text.out, HasSubstr("does not fit"));
}

TEST(Predict, QuietIsOneLineAndOpsAreListed) {
  const Workspace workspace;
  const std::string line = workspace.run(predict({"--quiet"})).out;
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  EXPECT_THAT(line, StartsWith("step "));
  const std::string ops = workspace.run(predict({"--ops"})).out;
  for (const char* part : {"forward", "backward", "embedding", "head", "grouped_gemm", "dispatch"}) {
    EXPECT_THAT(ops, HasSubstr(part));
  }
}

TEST(Plan, JsonHasTheKeysOfTheContract) {
  const Workspace workspace;
  const Ran ran = workspace.run(plan({"--json", "-", "--top", "3"}));
  ASSERT_EQ(ran.code, 0) << ran.err;
  const JsonView result = parse_json(ran.out, "stdout");
  EXPECT_THAT(result.keys(), IsSupersetOf(Args{"schema", "model", "cluster", "searched", "layouts"}));
  const JsonView searched = result.at("searched");
  EXPECT_THAT(searched.keys(), testing::ElementsAre("legal", "evaluated", "refused_by_memory",
                                                    "pruned_by_bound", "seconds", "proven"));
  EXPECT_TRUE(searched.at("proven").boolean());
  EXPECT_EQ(searched.at("legal").integer(), searched.at("evaluated").integer() +
                                                searched.at("refused_by_memory").integer() +
                                                searched.at("pruned_by_bound").integer());
  ASSERT_EQ(result.at("layouts").size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) expect_prediction(result.at("layouts")[i]);
}

// What a plan says of its first layout, predict says too.
TEST(Plan, AgreesWithPredict) {
  const Workspace workspace;
  const Ran planned = workspace.run(plan({"--json", "-", "--top", "1"}));
  const JsonView first = parse_json(planned.out, "stdout").at("layouts")[0];
  Args args = predict({"--json", "-"});
  *(std::find(args.begin(), args.end(), "--layout") + 1) = first.at("layout").string();
  const JsonView again = parse_json(workspace.run(args).out, "stdout");
  for (const std::string& key : kPredictKeys) EXPECT_EQ(again.at(key).dump(), first.at(key).dump()) << key;
}

TEST(Plan, CountsAnswerOverNumbersOfGpus) {
  const Workspace workspace;
  const Ran ran =
      workspace.run(joined_args(plan(), {"--gpus", "2..8", "--json", "a.json", "--save", "p.json"}));
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("smallest that fits"));
  const JsonView counts = load_json(workspace.path("a.json")).at("counts");
  ASSERT_EQ(counts.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(counts[i].at("gpus").integer(), 2 << i);
  EXPECT_EQ(workspace.files(), (std::set<std::string>{"a.json", "p.json"}));
}

TEST(Plan, NothingFitsExitsThreeWithTheNearestMissesAndSavesNothing) {
  const Workspace workspace;
  const Ran ran = workspace.run({"plan", "--model", "llama-3.1-405b", "--cluster", "h100-sxm:8",
                                 "--global-batch", "8", "--seq", "4096", "--save", "p.json"});
  EXPECT_EQ(ran.code, 3);
  EXPECT_THAT(ran.out, HasSubstr("no layout fits"));
  EXPECT_THAT(ran.out, HasSubstr("nearest first"));
  EXPECT_TRUE(workspace.files().empty());
}

TEST(Program, HelpAndVersionAnswer) {
  const Workspace workspace;
  for (const Args& args :
       {Args{"--help"}, Args{"--version"}, Args{"plan", "--help"}, Args{"predict", "--help"},
        Args{"list", "--help"}, Args{"bench", "--help"}, Args{"list"}}) {
    const Ran ran = workspace.run(args);
    EXPECT_EQ(ran.code, 0);
    EXPECT_EQ(ran.err, "");
    EXPECT_NE(ran.out, "");
  }
}

TEST(List, NamesWhatTheScenariosHold) {
  const Workspace workspace;
  const Ran ran = workspace.run({"list", "models", "--json", "-"});
  const JsonView rows = parse_json(ran.out, "stdout").at("rows");
  bool seen = false;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].at("name").string() != "mixtral-8x22b") continue;
    seen = true;
    EXPECT_EQ(rows[i].at("parameters").string(), "140,620,634,112");  // the checkpoint's own total
  }
  EXPECT_TRUE(seen);
}

}  // namespace
}  // namespace tw
