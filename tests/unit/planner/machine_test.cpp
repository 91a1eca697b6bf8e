// check --machine, as far as a machine without GPUs can tell: nvidia-smi's table, names, and wrong rank
// counts.
#include "planner/preflight/machine.hpp"

#include <gtest/gtest.h>

#include "tests/support/program.hpp"
#include "topology/json.hpp"

namespace tw::preflight {
namespace {

TEST(Machine, ReadsTheTableOfGpus) {
  const std::vector<GpuState> gpus =
      parse_gpus_table({"0, NVIDIA H200, 143771, 521, 0", "1, NVIDIA H200, 143771, 40960, 99",
                        "Unable to determine the device handle"});
  ASSERT_EQ(gpus.size(), 2u);
  EXPECT_EQ(gpus[1].index, 1);
  EXPECT_EQ(gpus[1].name, "NVIDIA H200");
  EXPECT_DOUBLE_EQ(gpus[1].used_gib, 40);
  EXPECT_DOUBLE_EQ(gpus[1].busy, 0.99);
}

TEST(Machine, KnowsAForeignGpuByItsName) {
  EXPECT_TRUE(same_kind("h200-sxm", "NVIDIA H200"));
  EXPECT_TRUE(same_kind("h100-sxm", "NVIDIA H100 80GB HBM3"));
  EXPECT_TRUE(same_kind("a100-80g-sxm", "NVIDIA A100-SXM4-80GB"));
  EXPECT_TRUE(same_kind("rtx-4090", "NVIDIA GeForce RTX 4090"));
  EXPECT_FALSE(same_kind("rtx-4090", "NVIDIA GeForce RTX 3090"));
  EXPECT_FALSE(same_kind("h200-sxm", "NVIDIA GH200 480GB"));
  EXPECT_FALSE(same_kind("h100-sxm", "NVIDIA H200"));
}

TEST(Machine, CountsTheRanksOfTheLauncher) {
  const Workspace workspace;
  const std::string plan = workspace.path("plan.json");
  ASSERT_EQ(workspace
                .run({"plan", "--model", "llama-3.2-1b", "--cluster", "h200-sxm:2", "--global-batch", "8",
                      "--seq", "4096", "--framework", "trainwright", "--save", plan, "--quiet"})
                .code,
            0);
  const Ran ran = workspace.run({"check", "--plan", plan, "--machine", "--no-search", "--launcher",
                                 "sh " TW_SOURCE_DIR "/tests/support/three_ranks.sh", "--json", "-"});
  EXPECT_EQ(ran.code, 3) << ran.err;
  EXPECT_NE(ran.out.find("rank count: the launcher starts 3 ranks, the plan has 2"), std::string::npos)
      << ran.out;
  EXPECT_EQ(workspace.run({"check", "--launch", "x.sh", "--cluster", "h100-sxm:8", "--machine"}).code, 2);
}

}  // namespace
}  // namespace tw::preflight
