// plan.json: read(write(x)) = x, and what the reader refuses.
#include "planner/plan_file.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "costmodel/program/routing.hpp"
#include "planner/plan.hpp"
#include "tests/support/program.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

Asked question() {
  Asked asked;
  asked.model = "llama-3.2-1b", asked.cluster = "h100-sxm:8", asked.global_batch = "32", asked.seq = "2048";
  asked.expert_load = "1.25", asked.headroom = "2 GiB";
  return asked;
}

PlanFile some_plan(const Asked& asked) {
  const Inputs inputs = load_inputs(asked);
  PlanSettings settings;
  settings.gpus = {8}, settings.top = 3, settings.fixed = "pp=1";
  return plan_file(asked, inputs, make_plan(inputs, settings));
}

TEST(PlanFile, ComesBackAsItWas) {
  const Workspace workspace;
  const PlanFile plan = some_plan(question());
  ASSERT_EQ(plan.layouts.size(), 3u);
  write_file(workspace.path("p.json"), to_json(plan).dump());
  const PlanFile again = load_plan(workspace.path("p.json"));
  EXPECT_EQ(again, plan);
  // Its question makes the same plan.
  EXPECT_EQ(some_plan(asked_of(again)), plan);
}

// Fresh routers: busiest of two ranks, two of eight experts chosen: 1 + 0.5 * 0.798 * 0.655.
TEST(PlanFile, FreshRoutersComeBack) {
  const Workspace workspace;
  Asked asked = question();
  asked.model = "tiny-moe", asked.expert_load = "fresh", asked.seq = "512";
  const Inputs inputs = load_inputs(asked);
  EXPECT_NEAR(for_ranks(inputs.settings.routing, inputs.model.moe(), 2).max_over_mean, 1.261, 1e-3);
  PlanSettings settings;
  settings.gpus = {8}, settings.top = 1, settings.fixed = "pp=1";
  const PlanFile plan = plan_file(asked, inputs, make_plan(inputs, settings));
  write_file(workspace.path("p.json"), to_json(plan).dump());
  EXPECT_EQ(asked_of(load_plan(workspace.path("p.json"))).expert_load, "fresh");
}

TEST(PlanFile, AFileOfTheUserIsFoundFromAnywhere) {
  const Workspace workspace;
  const std::string model = workspace.path("mine.json");
  write_file(model, read_file(std::string(TW_SOURCE_DIR) + "/scenarios/models/llama-3.2-1b.json"));
  Asked asked = question();
  asked.model = std::filesystem::relative(model).string();
  if (asked.model.find('/') == std::string::npos) asked.model = "./" + asked.model;
  EXPECT_EQ(some_plan(asked).model.given, std::filesystem::absolute(model).lexically_normal().string());
}

TEST(PlanFile, RefusesWhatIsWrong) {
  const Workspace workspace;
  const std::string path = workspace.path("p.json");
  const std::string good = to_json(some_plan(question())).dump();
  const auto refused = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    write_file(path, text.replace(at, from.size(), to));
    EXPECT_THROW(load_plan(path), InputError) << from << " -> " << to;
  };
  refused("plan-file/1", "plan-file/9");
  refused("\"gpus\": 8", "\"gpus\": 8, \"racks\": 1");
  refused("\"gpus\": 8,", "");
  refused("\"gpus\": 8", "\"gpus\": 16");  // the layouts are of 8
  refused("dp=", "dq=");
  refused("\"step\": \"", "\"step\": \"-x");
  refused("fnv1a-64:", "fnv1a-64:0");  // the model has changed
  refused("\"given\": \"h100-sxm\"", "\"given\": \"a100-80g-sxm\"");
}

}  // namespace
}  // namespace tw
