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

GemmShape gemm_shape(const std::string& op, const std::vector<std::int64_t>& s, std::size_t first) {
  GemmShape shape{s.at(first), s.at(first + 1), s.at(first + 2)};
  if (op.ends_with("gemm_dgrad")) shape.pass = GemmPass::dgrad;
  if (op.ends_with("gemm_wgrad_fp32")) shape.pass = GemmPass::wgrad, shape.accumulate_fp32 = true;
  return shape;
}

// Medians of "mix.NAME" rows name a layer's operators in order; the curves price them, the pricer's sustained
// ratios as in training.
Estimate priced(const Calibration& calibration, const LogRow& row) {
  const std::string op = row.op.substr(row.op.find('.') + 1);
  const std::vector<std::int64_t>& s = row.shape;
  Estimate out;
  if (op.starts_with("gemm")) {
    out = calibration.gemm(gemm_shape(op, s, 0));
  } else if (op.starts_with("grouped_")) {  // with or without SwiGLU behind it
    const GemmShape each = gemm_shape(op, s, 1);
    out = calibration.grouped_gemm(
        {s.at(0), static_cast<double>(s.at(1)), 1, each.n, each.k, each.pass, each.accumulate_fp32});
  } else if (op.starts_with("cudnn")) {
    AttentionShape shape{s.at(0), s.at(1), s.at(2), s.at(3), s.at(3), s.at(4), s.at(4)};
    shape.pairs = static_cast<double>(s.at(3)) * static_cast<double>(s.at(3) + 1) / 2;
    shape.backward = op == "cudnn_backward";
    out = calibration.attention(shape);
  } else {
    out = calibration.elementwise(Bytes(s.at(0)));
  }
  out.time = out.time * calibration.sustained(out.curve);
  return out;
}

struct PricedLog {
  double whole = 0, gemm = 0, all = 0;  // us: measured; of all operators by constant ratios
  std::vector<std::pair<CurveId, double>> operators;
};

double ratio(const Calibration& calibration, const PricedLog& layer) {
  double sum = 0;
  for (const auto& [curve, us] : layer.operators)
    sum += us * calibration.sustained_in_mix(curve, layer.gemm / layer.all);
  return sum / layer.whole;
}

// Predicted over measured, of each whole layer of a log.
std::vector<double> layer_ratios(const std::string& log) {
  const Calibration calibration = load_calibration("h200-sxm", load_cluster("h200-sxm"));
  std::vector<PricedLog> layers;
  for (const LogRow& row : log_named(log).rows) {
    if (row.op == "layer" || row.op == "moe_layer") layers.emplace_back().whole = median(row.us);
    if (!row.op.starts_with("mix.")) continue;
    const Estimate e = priced(calibration, row);
    PricedLog& layer = layers.back();
    layer.operators.push_back({e.curve, in_us(e.time)});
    layer.all += in_us(e.time),
        layer.gemm += e.curve == CurveId::gemm || e.curve == CurveId::grouped_gemm ? in_us(e.time) : 0;
  }
  std::vector<double> ratios;
  for (const PricedLog& layer : layers) ratios.push_back(ratio(calibration, layer));
  return ratios;
}

TEST(Logs, WholeLayersArePredictedFromTheCurves) {
  const std::vector<double> ratios = layer_ratios("h200-layers-2026-11-22.jsonl");
  ASSERT_EQ(ratios.size(), 3u);
  for (const double ratio : ratios) EXPECT_NEAR(ratio, 1, 0.05);
}

// Of Mixtral-8x7B, and of Qwen3-30B-A3B on one of 8 ranks of ep and alone; no number of the calibration comes
// from them.
TEST(Logs, WholeRoutedLayersArePredictedFromTheCurves) {
  const std::vector<double> ratios = layer_ratios("h200-moe-layers-2-2026-11-22.jsonl");
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
  ASSERT_EQ(file.links.tables->size(), 5u);  // every collective between two GPUs
  for (const ExchangeTable& table : *file.links.tables) {
    EXPECT_LE(table.evidence.residuals->left_out_median, 0.03) << name_of(table.collective);
    EXPECT_LE(table.evidence.residuals->left_out_p95, 0.10) << name_of(table.collective);
  }
}

// The log's own medians, through the calibration that a planner reads; on larger groups no table holds.
TEST(Logs, TablesAnswerForThePairThatWasMeasured) {
  const Calibration calibration = load_calibration("h200-sxm", load_cluster("h200-sxm"));
  GroupLinks pair;
  pair.ranks = pair.ranks_per_node = 2, pair.intra = BytesPerSec(450e9);
  std::vector<double> errors;
  for (const LogRow& row : log_named("h200-x2-links-2026-11-22.jsonl").rows) {
    for (const auto& [kind, name] : enum_names(static_cast<const Collective*>(nullptr))) {
      if (name != row.op) continue;
      const Estimate e = calibration.collective(kind, pair, Bytes(row.shape.at(0)));
      EXPECT_EQ(e.provenance, Provenance::measured);
      errors.push_back(std::abs(in_us(e.time) / median(row.us) - 1));
    }
  }
  ASSERT_GT(errors.size(), 190u);
  EXPECT_LT(percentile(errors, 0.95), 0.06);
  GroupLinks four = pair;
  four.ranks = four.ranks_per_node = 4;
  EXPECT_EQ(calibration.collective(Collective::all_gather, four, Bytes(1 << 20)).provenance,
            Provenance::derived);
}

TEST(Logs, LoopbackIsPricedByItsOwnRows) {
  const Cluster cluster = load_cluster("h200-loopback");
  const Calibration calibration = load_calibration(cluster.calibration, cluster);
  GroupLinks pair;
  pair.ranks = pair.nodes = 2, pair.inter = cluster.node.nic_rate,
  pair.inter_latency = cluster.node.nic_latency;
  std::vector<double> errors;
  for (const LogRow& row : log_named("h200-loopback-2026-11-22.jsonl").rows) {
    for (const auto& [kind, name] : enum_names(static_cast<const Collective*>(nullptr))) {
      if (name != row.op) continue;
      const Estimate e = calibration.collective(kind, pair, Bytes(row.shape.at(0)));
      EXPECT_EQ(e.provenance, Provenance::measured);
      errors.push_back(std::abs(in_us(e.time) / median(row.us) - 1));
    }
  }
  ASSERT_GT(errors.size(), 150u);
  EXPECT_LT(median(errors), 0.03);  // sockets: one size repeated differs by 5 to 25 %
  EXPECT_LT(percentile(errors, 0.95), 0.25);
}

TEST(Logs, NodesOfALogNeedTheRateBetweenThem) {
  LogFile log;
  log.rows = {{"all_gather", {1024, 2, 2}, "fit", {4}}};
  CalibratedDevice device;
  EXPECT_THROW(rows_of_log(log, device), InputError);
  const LoggedRows rows = rows_of_log(log, device, BytesPerSec(8e9));
  EXPECT_EQ(rows.collectives.at(0).nodes, 2);
  EXPECT_EQ(rows.collectives.at(0).inter->value, 8e9);
}

KernelRow timed(const char* op, double us, std::vector<std::int64_t> shape = {}) {
  KernelRow row;
  row.op = op, row.shape = std::move(shape), row.time = microseconds(us);
  return row;
}

// Alone 10 and 100 us, at once 20 and 125: the exchange takes twice as long; in its 20 us compute does 16 of
// what it would do, 4 lost: 0.2 of each second. The second size never gains.
TEST(Logs, InterferenceBySize) {
  CalibrationFile file;
  std::vector<KernelRow> rows = {
      timed("all_gather.beside", 20, {64, 2}),      timed("gemm.beside.all_gather", 125, {64, 2}),
      timed("all_gather.not_beside", 10, {64, 2}),  timed("gemm.not_beside.all_gather", 100, {64, 2}),
      timed("all_gather.beside", 9, {128, 2}),      timed("gemm.beside.all_gather", 99, {128, 2}),
      timed("all_gather.not_beside", 10, {128, 2}), timed("gemm.not_beside.all_gather", 100, {128, 2})};
  fit_beside(file, rows);
  ASSERT_EQ(file.host.beside->size(), 2u);
  EXPECT_NEAR((*file.host.beside)[0].network, 2, 1e-9);
  EXPECT_NEAR((*file.host.beside)[0].lost, 0.2, 1e-9);
  EXPECT_EQ((*file.host.beside)[1].network, 1);
  EXPECT_EQ((*file.host.beside)[1].lost, 0);
  rows.pop_back();
  EXPECT_THROW(fit_beside(file, rows), InputError);
}

// One after the other 170 of 60 and 100 alone: 10 more. Begun together the longer takes 150 of 70 and 100, so
// that 20 are hidden, 0.2 of the product. The short exchange, hidden whole, says nothing of that.
TEST(Logs, HandoverOfExchanges) {
  CalibrationFile file;
  const auto seven = [](std::int64_t bytes, double open, double alone, double led, double not_led) {
    return std::vector<KernelRow>{
        timed("all_gather.open", open, {bytes, 2}),         timed("all_gather.not_open", alone, {bytes, 2}),
        timed("gemm.not_open.all_gather", 100, {bytes, 2}), timed("all_gather.led", led, {bytes, 2}),
        timed("gemm.led.all_gather", 120, {bytes, 2}),      timed("all_gather.not_led", not_led, {bytes, 2}),
        timed("gemm.not_led.all_gather", 100, {bytes, 2})};
  };
  std::vector<KernelRow> rows = seven(64, 170, 60, 150, 70);
  for (const KernelRow& row : seven(128, 120, 10, 120, 12)) rows.push_back(row);
  fit_handover(file, rows);
  EXPECT_NEAR(in_us(*file.host.handover), 10, 1e-9);
  EXPECT_NEAR(*file.host.gemm_yields, 0.2, 1e-9);
  rows.pop_back();
  EXPECT_THROW(fit_handover(file, rows), InputError);
  CalibrationFile none;
  fit_handover(none, {timed("gemm", 100)});
  EXPECT_EQ(none.host.handover->value, 0);
  EXPECT_EQ(*none.host.gemm_yields, 1);
}

// Inside 60 of a GEMM (alone 50), 30 of attention (20) and 10 of others: 100, the layer 90 without events.
// GEMM 0.9 * 60 / 50, attention 0.9 * 30 / 20, share 0.6. A routed layer is left out.
TEST(Logs, MixesOfWholeLayers) {
  CalibrationFile file;
  fit_mixes(file, {timed("layer", 90), timed("mix.gemm_dgrad", 60), timed("mix.cudnn_forward", 30),
                   timed("mix.norm", 10), timed("alone.gemm_dgrad", 50), timed("alone.cudnn_forward", 20),
                   timed("alone.norm", 10), timed("moe_layer", 1000), timed("mix.looped_gemm", 500)});
  ASSERT_EQ(file.sustained->mixes->size(), 1u);
  const LoadAtShare& mix = file.sustained->mixes->front();
  EXPECT_NEAR(mix.gemm_share, 0.6, 1e-12);
  EXPECT_NEAR(mix.gemm, 1.08, 1e-12);
  EXPECT_NEAR(mix.attention, 1.35, 1e-12);
}

// Of two sizes the larger is never the faster in a table, whatever was measured; 3 KiB, kept out, lies on the
// line between 2 and 4: 10 us, measured as 8.
TEST(Logs, TablesDoNotFall) {
  std::vector<CollectiveRow> rows;
  for (const auto& [bytes, us] : {std::pair{1024, 6}, {2048, 5}, {4096, 14}, {3072, 8}}) {
    CollectiveRow row;
    row.use = bytes == 3072 ? "held_out" : "fit", row.ranks = 2, row.bytes = Bytes(bytes);
    row.intra = BytesPerSec(450e9), row.time = microseconds(us);
    rows.push_back(row);
  }
  CalibrationFile file;
  fit_tables(file, rows, "here");
  ASSERT_EQ(file.links.tables->size(), 1u);
  const ExchangeTable& table = file.links.tables->front();
  EXPECT_NEAR(in_us(table.times.at(1)), 6, 1e-9);
  EXPECT_NEAR(table.evidence.residuals->left_out_median, std::log(10.0 / 8), 1e-3);
  rows.pop_back();
  EXPECT_THROW(fit_tables(file, rows, "here"), InputError);
}

}  // namespace
}  // namespace tw
