// The shipped H200 calibration beside the logs that it was fitted to, and beside whole layers that it was
// not.
#include "calibrate/fit/logs.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <sstream>

#include "calibrate/fit/fit.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

const std::string kScenarios = std::string(TW_SOURCE_DIR) + "/scenarios";

LogFile log_named(const std::string& name) {
  std::ostringstream text;
  text << std::ifstream(kScenarios + "/measured/" + name).rdbuf();
  return parse_log(text.str(), name);
}

// Medians of "mix.NAME" rows name a layer's operators in order; the curves price them, the pricer's sustained
// ratios as in training.
Seconds priced(const Calibration& calibration, const LogRow& row) {
  const std::string op = row.op.substr(row.op.find('.') + 1);
  const std::vector<std::int64_t>& s = row.shape;
  Estimate out;
  if (op.starts_with("gemm")) {
    GemmShape shape{s.at(0), s.at(1), s.at(2)};
    if (op == "gemm_dgrad") shape.pass = GemmPass::dgrad;
    if (op == "gemm_wgrad_fp32") shape.pass = GemmPass::wgrad, shape.accumulate_fp32 = true;
    out = calibration.gemm(shape);
  } else if (op.starts_with("cudnn")) {
    AttentionShape shape{s.at(0), s.at(1), s.at(2), s.at(3), s.at(3), s.at(4), s.at(4)};
    shape.pairs = static_cast<double>(s.at(3)) * static_cast<double>(s.at(3) + 1) / 2;
    shape.backward = op == "cudnn_backward";
    out = calibration.attention(shape);
  } else {
    out = calibration.elementwise(Bytes(s.at(0)));
  }
  return out.time * calibration.sustained(out.curve);
}

TEST(Logs, WholeLayersArePredictedFromTheCurves) {
  const Calibration calibration = load_calibration("h200-sxm", load_cluster("h200-sxm"));
  std::vector<double> ratios;
  double whole = 0, sum = 0;
  const auto close = [&] {
    if (whole > 0) ratios.push_back(sum / whole);
  };
  for (const LogRow& row : log_named("h200-layers-2026-11-22.jsonl").rows) {
    if (row.op == "layer") {
      close();
      whole = median(row.us), sum = 0;
    }
    if (row.op.starts_with("mix.")) sum += in_us(priced(calibration, row));
  }
  close();
  ASSERT_EQ(ratios.size(), 3u);
  for (const double ratio : ratios) EXPECT_NEAR(ratio, 1, 0.05);
}

TEST(Logs, RowsKeepWhatTheyAreFor) {
  LogFile log;
  log.rows = {{"gemm", {1, 2, 3}, "fit", {3, 1, 2}},
              {"gemm", {4, 5, 6}, "check", {5}},
              {"layer", {1}, "note", {7}},
              {"gemm", {7, 8, 9}, "fit", {}},  // refused by the library
              {"all_gather", {1024, 2}, "check", {4}}};
  CalibratedDevice device;
  device.gpu = "h200-sxm", device.nvlink_one_way = BytesPerSec(450e9);
  const LoggedRows rows = rows_of_log(log, device);
  ASSERT_EQ(rows.kernels.size(), 3u);
  EXPECT_EQ(*rows.kernels[0].use, "fit");
  EXPECT_NEAR(in_us(rows.kernels[0].time), 2, 1e-12);
  EXPECT_EQ(*rows.kernels[1].use, "held_out");
  EXPECT_EQ(*rows.kernels[2].use, "check");
  ASSERT_EQ(rows.collectives.size(), 1u);
  EXPECT_EQ(rows.collectives[0].algorithm, "ring");
  EXPECT_EQ(rows.collectives[0].use, "held_out");
  EXPECT_EQ(rows.collectives[0].ranks, 2);

  KernelRow other;
  other.op = "gemm";
  KernelRow kept;
  kept.op = "flash2_forward";
  const std::vector<KernelRow> all = overlaid({other, kept}, rows.kernels);
  EXPECT_EQ(all.size(), 4u);  // the logs' three and the one whose operation they lack
}

TEST(Logs, HeldOutErrorsAreHeld) {
  const CalibrationFile file = load<CalibrationFile>(kScenarios + "/calibrations/h200-sxm.json");
  for (const Evidence* evidence :
       {&file.gemm.evidence, &file.grouped_gemm.evidence, &file.attention.cudnn.forward.evidence,
        &file.attention.cudnn.backward.evidence}) {
    EXPECT_LE(evidence->residuals->left_out_median, 0.03) << evidence->source;
    EXPECT_LE(evidence->residuals->left_out_p95, 0.10) << evidence->source;
  }
}

}  // namespace
}  // namespace tw
