// Runs of the trainer on H200s (tests/gpu/confirm-runs.json), which nothing is fitted to: what validate says
// of them stays what confirm was asked for.
#include <gtest/gtest.h>

#include "tests/support/program.hpp"
#include "topology/json.hpp"

namespace tw {
namespace {

TEST(OwnRuns, OnOneAndTwoH200s) {
  const Workspace workspace;
  const Ran ran =
      workspace.run({"validate", "--rows", TW_SOURCE_DIR "/scenarios/measured/h200-confirm-2-2026-11-22.json",
                     "--calibration", "h200-sxm", "--json", "-"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const JsonView all = parse_json(ran.out, "validate").at("overall");
  EXPECT_EQ(all.at("used").integer(), 28);
  EXPECT_LT(all.at("time_mape").number(), 5);
  EXPECT_LT(all.at("time_worst").number(), 12);
  EXPECT_LT(all.at("memory_mape").number(), 5);
  EXPECT_GT(all.at("median_tau").number(), 0.8);
  EXPECT_LT(all.at("median_regret").number(), 3);
  EXPECT_GT(all.at("coverage").number(), 70);
}

}  // namespace
}  // namespace tw
