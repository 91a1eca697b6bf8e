#include <algorithm>
#include <cmath>

#include "calibrate/fit/fit.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

// The same shape repeated differs by up to 6 % (two runs of 8192 x 8192 x 8192: 1637 and 1545 us), a
// GPU differs from the next by a few per cent: no band of kernels is narrower than this.
constexpr double kLeastSpread = 0.03;

std::string label(const KernelRow& row) {
  std::string text;
  for (const std::int64_t each : row.shape) {
    if (!text.empty()) text += 'x';
    text += std::to_string(each);
  }
  return text;
}

double extent(const KernelRow& row, std::size_t i) {
  return static_cast<double>(row.shape.at(i));
}

TileWork work_of(const KernelRow& row) {
  const std::size_t first = row.op == "grouped_gemm" ? 1 : 0;
  TileWork work{.rows = extent(row, first), .cols = extent(row, first + 1), .depth = extent(row, first + 2)};
  if (first == 1) work.groups = extent(row, 0);
  work.odd = row.shape[first + 1] % 2 != 0 || row.shape[first + 2] % 2 != 0;
  return work;
}

std::vector<KernelRow> rows_of(const std::vector<KernelRow>& rows, std::string_view op) {
  std::vector<KernelRow> found;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(found),
               [&](const KernelRow& row) { return row.op == op; });
  return found;
}

void fit_copy(MemoryCurve& curve, const std::vector<KernelRow>& rows) {
  const KernelRow& row = rows.front();
  const Bytes bytes(row.shape.front());
  curve.rate = BytesPerSec(rounded((bytes / (row.time - curve.overhead)).value));
  curve.evidence.points =
      std::vector<CurvePoint>{{std::to_string(bytes.count) + " B", row.time,
                               Seconds(rounded(memory_time(curve, bytes.to_double()).value))}};
  curve.max_bytes = bytes;
}

// Rows below the host's floor say how fast the host launches, not how fast the GPU is: the fit
// compares max(floor, device time) with them. The floor is the shortest row of all.
std::vector<FitRow> gemm_rows(const CalibrationFile& file, const GemmCurve& curve,
                              const std::vector<KernelRow>& rows, Seconds floor) {
  std::vector<FitRow> out;
  for (const KernelRow& row : rows) {
    const TileWork work = work_of(row);
    out.push_back({label(row), row.time.value, [&file, &curve, work, floor] {
                     const Seconds device = gemm_time(curve, file.device.sms, file.elementwise.rate, work);
                     return std::max(floor, device).value;
                   }});
  }
  return out;
}

Seconds shortest(const std::vector<KernelRow>& rows) {
  return std::min_element(rows.begin(), rows.end(),
                          [](const auto& a, const auto& b) { return a.time < b.time; })
      ->time;
}

void set_range(GemmCurve& curve, const std::vector<KernelRow>& rows) {
  curve.max_flops = Flops(0);
  curve.min_rows = work_of(rows.front()).rows;
  curve.min_size = work_of(rows.front()).cols;
  for (const KernelRow& row : rows) {
    const TileWork work = work_of(row);
    curve.max_flops = std::max(curve.max_flops, Flops(gemm_flops(work)));
    curve.min_rows = std::min(curve.min_rows, work.rows);
    curve.min_size = std::min({curve.min_size, work.cols, work.depth});
  }
}

void fit_gemm(CalibrationFile& file, const std::vector<KernelRow>& rows) {
  GemmCurve& curve = file.gemm;
  const double peak = file.device.bf16.value;
  const double us = microseconds(1).value;
  const std::vector<Parameter> parameters = {{&curve.rate.value, peak / 2, peak},
                                             {&curve.odd_rate.value, peak / 40, peak / 2},
                                             {&curve.overhead.value, us, 12 * us},
                                             {&curve.memory_ramp.value, us / 100, 20 * us},
                                             {&curve.fill, 8, 1024},
                                             {&curve.tail, 0.05, 1},
                                             {&curve.intensity, 10, 85},
                                             {&curve.memory_share, 0.6, 1},
                                             {&curve.overlap, 1.5, 8}};
  fit_curve(parameters, gemm_rows(file, curve, rows, shortest(rows)), kLeastSpread, curve.evidence);
  set_range(curve, rows);
}

// Few rows: tile and memory constants are the GEMM's; its own are the rate and the overhead.
void fit_grouped(CalibrationFile& file, const std::vector<KernelRow>& rows) {
  GemmCurve& curve = file.grouped_gemm;
  const Evidence stated = curve.evidence;
  curve = file.gemm;
  curve.evidence = stated;
  const double us = microseconds(1).value;
  const std::vector<Parameter> parameters = {
      {&curve.rate.value, file.gemm.rate.value / 2, file.device.bf16.value},
      {&curve.overhead.value, us, 60 * us}};
  fit_curve(parameters, gemm_rows(file, curve, rows, Seconds(0)), kLeastSpread, curve.evidence);
  curve.odd_rate = FlopsPerSec(rounded(file.gemm.odd_rate.value * (curve.rate / file.gemm.rate)));
  set_range(curve, rows);
}

AttentionShape causal(const KernelRow& row, bool backward) {
  AttentionShape shape;
  shape.batch = row.shape.at(0);
  shape.heads = shape.kv_heads = row.shape.at(1);
  shape.q_len = shape.kv_len = row.shape.at(2);
  shape.head_dim = shape.value_dim = row.shape.at(3);
  shape.pairs = static_cast<double>(shape.q_len) * static_cast<double>(shape.q_len + 1) / 2;
  shape.backward = backward;
  return shape;
}

void fit_attention(CalibrationFile& file, AttentionCurve& curve, const std::vector<KernelRow>& rows,
                   bool backward) {
  const AttentionCurves& curves = file.attention;
  std::vector<FitRow> out;
  curve.min_length = curve.max_length = extent(rows.front(), 2);
  for (const KernelRow& row : rows) {
    const PairWork work = pair_work(causal(row, backward), curves.head_dim);
    out.push_back({label(row), row.time.value, [&curves, &curve, work] {
                     return attention_time(curve, curves.exponential, work).value;
                   }});
    curve.min_length = std::min(curve.min_length, extent(row, 2));
    curve.max_length = std::max(curve.max_length, extent(row, 2));
  }
  const double peak = file.device.bf16.value;
  fit_curve({{&curve.rate.value, peak / 10, peak}, {&curve.padding, 1, 4000}}, out, kLeastSpread,
            curve.evidence);
}

}  // namespace

void fit_kernels(CalibrationFile& file, const std::vector<KernelRow>& rows) {
  fit_copy(file.elementwise, rows_of(rows, "copy"));
  fit_gemm(file, rows_of(rows, "gemm"));
  fit_grouped(file, rows_of(rows, "grouped_gemm"));
  fit_attention(file, file.attention.flash2.forward, rows_of(rows, "flash2_forward"), false);
  fit_attention(file, file.attention.flash2.backward, rows_of(rows, "flash2_backward"), true);
  fit_attention(file, file.attention.cudnn.forward, rows_of(rows, "cudnn_forward"), false);
  fit_attention(file, file.attention.cudnn.backward, rows_of(rows, "cudnn_backward"), true);
}

}  // namespace tw
