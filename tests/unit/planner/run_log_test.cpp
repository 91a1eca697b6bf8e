// Lines of the logs of four frameworks, in the formats of the code that prints them (named in run_log.cpp).
#include "planner/preflight/run_log.hpp"

#include <gtest/gtest.h>

#include "planner/confirm/runner.hpp"

namespace tw::preflight {
namespace {

RunLog read_lines(const std::vector<std::string>& lines, double tokens = 0, std::int64_t batch = 0) {
  RunLogReader reader(tokens, batch);
  for (const std::string& line : lines) reader.line(line);
  return reader.log();
}

TEST(RunLog, Megatron) {
  const RunLog log =
      read_lines({"[Rank 0] (after 1 iterations) memory (MB) | allocated: 30720.5 | max allocated: 51200.0 | "
                  "reserved: 53248.0 | "
                  "max reserved: 53248.0",
                  " [2025-11-22 10:00:01] iteration        1/      50 | consumed samples:          256 | "
                  "elapsed time per iteration "
                  "(ms): 9000.1 | throughput per GPU (TFLOP/s/GPU): 300.2 | learning rate: 1.0E-04 | global "
                  "batch size:   256 | lm "
                  "loss: 1.105E+01 | loss scale: 1.0 |",
                  " [2025-11-22 10:00:07] iteration        2/      50 | consumed samples:          512 | "
                  "elapsed time per iteration "
                  "(ms): 5740.3 | throughput per GPU (TFLOP/s/GPU): 470.9 | learning rate: 1.0E-04 | global "
                  "batch size:   256 | lm "
                  "loss: 1.090E+01 | loss scale: 1.0 |"});
  ASSERT_EQ(log.steps.size(), 2u);
  EXPECT_EQ(log.steps[1].step, 2);
  EXPECT_DOUBLE_EQ(log.steps[1].seconds, 5.7403);
  EXPECT_DOUBLE_EQ(log.memory_gib, 50);
  EXPECT_EQ(log.losses, (std::vector<double>{11.05, 10.9}));
}

TEST(RunLog, Torchtitan) {
  // 16384 tokens of a GPU and step at 6,244 tokens a second: 2.624 s; coloured as on a terminal.
  const RunLog log =
      read_lines({"[titan] 2025-11-22 10:00:01,000 - root - INFO - \x1b[31mstep: 10  \x1b[32mloss:  8.1234  "
                  "\x1b[38;2;180;60;0mgrad_norm:  1.2  \x1b[33mmemory: 50.02GiB(63.20%)  \x1b[34mtps: 6,244  "
                  "\x1b[36mtflops: 361.20  \x1b[35mmfu: 36.52%\x1b[39m"},
                 16384);
  ASSERT_EQ(log.steps.size(), 1u);
  EXPECT_EQ(log.steps[0].step, 10);
  EXPECT_NEAR(log.steps[0].seconds, 16384.0 / 6244, 1e-9);
  EXPECT_DOUBLE_EQ(log.memory_gib, 50.02);
}

TEST(RunLog, DeepSpeed) {
  const RunLog log = read_lines(
      {"[2025-11-22 10:00:01,000] [INFO] [timer.py:264:stop] epoch=0/micro_step=40/global_step=10, "
       "RunningAvgSamplesPerSec=12.1, CurrSamplesPerSec=12.5, MemAllocated=30.2GB, "
       "MaxMemAllocated=50.1GB"},
      0, 32);
  ASSERT_EQ(log.steps.size(), 1u);
  EXPECT_DOUBLE_EQ(log.steps[0].seconds, 2.56);
  EXPECT_DOUBLE_EQ(log.memory_gib, 50.1);
}

TEST(RunLog, Nemo) {
  const RunLog log = read_lines(
      {"Training epoch 0, iteration 8/99 | lr: 3e-06 | global_batch_size: 256 | global_step: 8 | "
       "reduced_train_loss: 11.03 | train_step_timing in s: 5.81 | consumed_samples: 2304",
       "Epoch 0: :   9%| 9/100 [00:52<08:43, v_num=1, reduced_train_loss=10.90, global_step=9.000, "
       "train_step_timing in s=5.740]"});
  ASSERT_EQ(log.steps.size(), 2u);
  EXPECT_DOUBLE_EQ(log.steps[0].seconds, 5.81);
  EXPECT_DOUBLE_EQ(log.steps[1].seconds, 5.74);
}

TEST(RunLog, SaysNothingOfOtherLines) {
  const RunLog log = read_lines(
      {"", "loading step: none", "elapsed time per iteration (ms): fast", "tps: -1 step: 2 memory: GiB",
       std::string("\x1b[31", 4), "CurrSamplesPerSec=0, global_step=1"},
      100, 8);
  EXPECT_TRUE(log.steps.empty());
  EXPECT_FALSE(measured_in_log({"nothing"}, 1, 1, 3).has_value());
}

TEST(RunLog, WarmUpIsLeftOutAndTheMedianTaken) {
  std::vector<std::string> lines;
  for (const char* ms : {"9000", "5000", "5200", "5100"})
    lines.push_back(" iteration " + std::to_string(lines.size() + 1) +
                    "/ 4 | elapsed time per iteration (ms): " + ms + " |");
  const auto measured = measured_in_log(lines, 0, 0, 1);
  ASSERT_TRUE(measured.has_value());
  EXPECT_DOUBLE_EQ(measured->median_s, 5.1);
}

}  // namespace
}  // namespace tw::preflight
