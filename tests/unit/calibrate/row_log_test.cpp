#include "calibrate/measure/row_log.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "calibrate/probes/gpu/shapes.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

class RowLogTest : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }
  std::string text() const {
    std::ostringstream out;
    out << std::ifstream(path_).rdbuf();
    return out.str();
  }
  void write(const std::string& text) const { std::ofstream(path_) << text; }
  std::string path_ = testing::TempDir() + "row_log_" + std::to_string(getpid()) + ".jsonl";
  LogMachine machine_{"GPU", "0123", "580", "CUDA 13.0", 1, 132, 700, "", "", {1}, {}};
  LogRow row_{"gemm", {128, 256, 512}, "fit", {1.5, 1.25, 1.75}, 1980, 300, 40, 4};
};

TEST_F(RowLogTest, GoesOnWhereItWas) {
  {
    RowLog log(path_, machine_, true);
    EXPECT_FALSE(log.has("gemm", {128, 256, 512}));
    log.add(row_);
  }
  RowLog again(path_, machine_, true);
  EXPECT_TRUE(again.has("gemm", {128, 256, 512}));
  EXPECT_FALSE(again.has("gemm", {128, 256, 513}));
  EXPECT_FALSE(again.has("gemm_dgrad", {128, 256, 512}));
  const LogFile read = parse_log(text(), path_);
  ASSERT_EQ(read.rows.size(), 1u);
  EXPECT_EQ(read.rows[0].us, row_.us);
  EXPECT_EQ(read.rows[0].held_down, 4);
  EXPECT_EQ(read.machine.identity, "0123");
}

TEST_F(RowLogTest, DropsALineCutShortAndMeasuresThatCaseAgain) {
  { RowLog(path_, machine_, true).add(row_); }
  const std::string whole = text();
  write(whole + "{\"op\": \"gemm\", \"shape\": [1, 2");
  RowLog again(path_, machine_, true);
  EXPECT_TRUE(again.has("gemm", {128, 256, 512}));
  EXPECT_EQ(text(), whole);
}

TEST_F(RowLogTest, StartsAnewWhereNotEvenTheMachineIsWhole) {
  write("{\"gpu\": \"GP");
  RowLog log(path_, machine_, true);
  EXPECT_EQ(parse_log(text(), path_).machine.gpu, "GPU");
}

TEST_F(RowLogTest, NeverMixesMachines) {
  { RowLog log(path_, machine_, true); }
  for (auto member : {&LogMachine::identity, &LogMachine::driver, &LogMachine::libraries}) {
    LogMachine other = machine_;
    other.*member = "other";
    EXPECT_THROW(RowLog(path_, other, true), InputError);
  }
  LogMachine other = machine_;
  other.ranks = 2;
  EXPECT_THROW(RowLog(path_, other, true), InputError);
  other = machine_;
  other.nodes = 2;
  EXPECT_THROW(RowLog(path_, other, true), InputError);
  other = machine_;
  other.nccl_environment = std::string("NCCL_PROTO=LL");
  EXPECT_THROW(RowLog(path_, other, true), InputError);
  other = machine_;
  other.date = "tomorrow";  // of the same machine: goes on
  EXPECT_NO_THROW(RowLog(path_, other, true));
}

TEST_F(RowLogTest, OtherRanksWriteNothing) {
  RowLog(path_, machine_, false).add(row_);
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(RowLogTest, RefusesDamagedLines) {
  { RowLog(path_, machine_, true).add(row_); }
  const std::string whole = text();
  for (const char* line :
       {"\n", "{}\n", "[]\n", "null\n", "{\"op\": 1}\n", "gemm 1 2 3\n", "{\"op\": \"gemm\"}\n"}) {
    EXPECT_THROW(parse_log(whole + line, "log"), InputError) << line;
    EXPECT_THROW(parse_log(line, "log"), InputError) << line;
  }
  EXPECT_THROW(parse_log("", "log"), InputError);
}

// A shape that judges the fit must not be one that the fit has seen.
TEST(GpuShapes, ModelsAreNotOnTheGrid) {
  const auto grid = gpu::grid_gemms(), odd = gpu::odd_gemms();
  EXPECT_EQ(grid.size(), 24u * 7u);
  EXPECT_EQ(gpu::model_gemms().size(), 36u);
  for (const auto& model : gpu::model_gemms()) {
    for (const auto& each : grid) EXPECT_FALSE(model.n == each.n && model.k == each.k && model.m == each.m);
    for (const auto& each : odd) EXPECT_FALSE(model.n == each.n && model.k == each.k);
  }
}

}  // namespace
}  // namespace tw
