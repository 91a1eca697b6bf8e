// A machine of known costs is measured on paper; the fit finds its costs again.
#include <gtest/gtest.h>

#include <cmath>

#include "calibrate/fit/fit.hpp"
#include "calibrate/measure/samples.hpp"
#include "costmodel/calibration.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

// 40 GFLOP/s, 2 us to start, and 10 GB/s over the bf16 operands; wgrad also reads and writes fp32.
double gemm_seconds(double m, double n, double k, bool wgrad) {
  return 2e-6 + 2 * m * n * k / 40e9 + (2 * (m * k + k * n + m * n) + (wgrad ? 8 * n * k : 0)) / 10e9;
}

MeasuredFile rows_of_known_machine() {
  MeasuredFile out;
  std::vector<KernelRow>& rows = out.kernels.value;
  rows.push_back({"copy", {std::int64_t{1} << 27}, Seconds((1 << 27) / 20e9), {}, {}});
  for (const std::int64_t m : {64, 128, 256, 512}) {
    for (const std::int64_t n : {128, 320, 640}) {
      for (const std::int64_t k : {192, 448}) {
        const auto add = [&](const char* op, bool wgrad) {
          rows.push_back(
              {op, {m, n, k}, Seconds(gemm_seconds(double(m), double(n), double(k), wgrad)), {}, {}});
          rows.push_back({std::string("grouped_") + op,
                          {4, m, n, k},
                          Seconds(4 * gemm_seconds(double(m), double(n), double(k), wgrad)),
                          {},
                          {}});
        };
        add("gemm", false), add("gemm_dgrad", false), add("gemm_wgrad", true);
      }
    }
  }
  for (const std::int64_t length : {64, 128, 256, 512, 1024}) {
    const double pairs = 8.0 * double(length) * double(length + 1) / 2;
    rows.push_back({"attention_forward", {1, 8, length, 32}, Seconds(pairs * 128 / 10e9), {}, {}});
    rows.push_back({"attention_backward", {1, 8, length, 32}, Seconds(pairs * 320 / 20e9), {}, {}});
  }
  for (const std::int64_t bytes : {1 << 15, 1 << 18, 1 << 21}) {
    rows.push_back({"norm", {bytes}, Seconds(1e-6 + double(bytes) / 3e9), {}, {}});
    rows.push_back({"norm.backward", {bytes}, Seconds(1e-6 + double(bytes) / 2e9), {}, {}});
    rows.push_back({"optimizer", {bytes}, Seconds(double(bytes) / 1e9), {}, {}});
  }
  return out;
}

Gpu cpu() {
  return load_gpu("local-cpu");
}

TEST(FitCpu, FindsTheCostsOfAKnownMachine) {
  const CalibrationFile k = fit_cpu(rows_of_known_machine(), cpu());
  EXPECT_LT(k.gemm.evidence.residuals->median, 0.01);
  EXPECT_LT(k.gemm.evidence.residuals->left_out_p95, 0.03);
  EXPECT_NEAR(k.gemm.rate.value, 40e9, 1e9);
  EXPECT_LT(k.attention.flash2.forward.evidence.residuals->left_out_p95, 0.02);
  EXPECT_LT(k.attention.flash2.backward.evidence.residuals->left_out_p95, 0.02);
  EXPECT_NEAR(k.operators->at("norm").forward.rate.value, 3e9, 3e7);
  EXPECT_NEAR(k.operators->at("norm").backward.rate.value, 2e9, 2e7);
  // An operator that has no backward is priced by its forward.
  EXPECT_EQ(k.operators->at("optimizer").backward.rate.value,
            k.operators->at("optimizer").forward.rate.value);
}

// Ranges are those of the rows: 1 KiB of a norm lies outside, 64 KiB inside.
TEST(FitCpu, RangesAreThoseOfTheRows) {
  const CalibrationFile k = fit_cpu(rows_of_known_machine(), cpu());
  EXPECT_EQ(k.operators->at("norm").forward.min_bytes.count, 1 << 15);
  EXPECT_EQ(k.operators->at("norm").forward.max_bytes.count, 1 << 21);
  EXPECT_EQ(k.gemm.min_rows, 64);
}

TEST(FitCpu, WithoutRowsItSaysWhich) {
  MeasuredFile rows = rows_of_known_machine();
  std::erase_if(rows.kernels.value, [](const KernelRow& row) { return row.op.starts_with("attention"); });
  try {
    fit_cpu(rows, cpu());
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("attention_forward"), std::string::npos);
  }
}

// Nothing of a link was measured: a guess, and its band says so.
TEST(FitCpu, LinksWithoutRowsAreGuesses) {
  const CalibrationFile k = fit_cpu(rows_of_known_machine(), cpu());
  EXPECT_EQ(k.links.ring_inter.evidence.provenance, Provenance::derived);
  EXPECT_GE(k.links.ring_inter.evidence.spread, 0.5);
}

// Of 1..9 the median is 5, the 16th and 84th percentiles 2 and 8: (8 - 2) / 2 / 5.
TEST(Samples, MedianAndSpread) {
  const Summary s = summary_of({9, 1, 8, 2, 7, 3, 6, 4, 5});
  EXPECT_EQ(s.count, 9);
  EXPECT_EQ(s.median, 5);
  EXPECT_DOUBLE_EQ(s.spread, 0.6);
}

// What takes less than its share does not keep a run going.
TEST(Samples, OnlyWhatCountsDecidesWhenToStop) {
  Samples samples;
  for (int i = 0; i < 100; ++i) samples.add("long", 1), samples.add("short", i % 2 == 0 ? 1e-4 : 3e-4);
  EXPECT_EQ(samples.worst_error(0.02), 0);
  EXPECT_GT(samples.worst_error(0), 0.01);
}

// Half of what equal choices would cause: 8 experts, 2 chosen, 2 ranks deviate by sqrt(3/7), 0.798 of it on
// average.
TEST(FitCpu, LikenessIsTheShareOfEqualChoices) {
  MeasuredFile rows = rows_of_known_machine();
  rows.routing.value = {{8, 2, 2, 0.5 * 0.797885 * std::sqrt(3.0 / 7)}};
  EXPECT_NEAR(fit_cpu(rows, load_gpu("local-cpu")).likeness.value, 0.5, 1e-4);
  rows.routing.value.clear();
  EXPECT_EQ(fit_cpu(rows, load_gpu("local-cpu")).likeness.value, 0);
}

// A link of 100 MB/s and 80 us between two hosts of one rank; all else stays as it was.
TEST(FitCpu, BetweenHostsOnlyWhatIsBetweenThemIsFitted) {
  CalibrationFile file = fit_cpu(rows_of_known_machine(), load_gpu("local-cpu"));
  const LinkCurve inside = file.links.ring_intra;
  const double rate = file.gemm.rate.value;
  std::vector<CollectiveRow> rows;
  for (const std::int64_t bytes : {1 << 12, 1 << 15, 1 << 18, 1 << 21, 1 << 23}) {
    CollectiveRow row;
    row.use = "fit", row.gpu = "local-cpu", row.ranks = 2, row.nodes = 2, row.bytes = Bytes(bytes);
    row.intra = BytesPerSec(8e9), row.inter = BytesPerSec(125e6);
    row.algorithm = "direct", row.collective = Collective::send;
    row.time = Seconds(80e-6 + static_cast<double>(bytes) / 100e6);
    rows.push_back(row);
    row.algorithm = "ring", row.collective = Collective::all_gather;  // half of it crosses
    row.time = Seconds(80e-6 + static_cast<double>(bytes) / 2 / 100e6);
    rows.push_back(row);
  }
  fit_between_hosts(file, rows, "measured: here");
  EXPECT_EQ(file.links.ring_intra.efficiency, inside.efficiency);
  EXPECT_EQ(file.gemm.rate.value, rate);
  EXPECT_EQ(file.links.send_inter.evidence.provenance, Provenance::measured);
  EXPECT_NEAR(file.links.send_inter.efficiency, 0.8, 0.05);
  EXPECT_LT(file.links.send_inter.evidence.residuals->median, 0.03);
  EXPECT_LT(file.links.ring_inter.evidence.residuals->median, 0.03);
  EXPECT_LT(file.links.tree_inter.efficiency, 0.1 * file.links.ring_inter.efficiency)
      << "never taken for faster";
}

}  // namespace
}  // namespace tw
