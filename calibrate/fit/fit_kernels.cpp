#include <algorithm>
#include <cmath>
#include <limits>

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

// Both backward passes as products of their own shape; fp32: 4 bytes read and 4 written per weight.
TileWork work_of(const KernelRow& row) {
  const bool grouped = row.op.starts_with("grouped_gemm");
  const std::size_t first = grouped ? 1 : 0;
  const double m = extent(row, first), n = extent(row, first + 1), k = extent(row, first + 2);
  TileWork work{.rows = m, .cols = n, .depth = k};
  if (row.op.ends_with("_dgrad")) work = {.rows = m, .cols = k, .depth = n};
  if (row.op.find("_wgrad") != std::string::npos) work = {.rows = k, .cols = n, .depth = m};
  if (row.op.ends_with("_fp32")) work.extra_bytes = 2.0 * static_cast<double>(size_of(DType::fp32)) * n * k;
  if (grouped) work.groups = extent(row, 0), work.extra_bytes *= work.groups;
  work.odd = row.shape[first + 1] % 2 != 0 || row.shape[first + 2] % 2 != 0;
  return work;
}

// Sizes that are even and no multiple of 8 have a rate of their own that no curve knows.
bool misaligned(const KernelRow& row) {
  const std::size_t last = row.shape.size() - 1;
  return !work_of(row).odd && (row.shape[last] % 8 != 0 || row.shape[last - 1] % 8 != 0);
}

using Names = std::vector<std::string_view>;
std::vector<KernelRow> rows_of(const std::vector<KernelRow>& rows, const Names& ops) {
  std::vector<KernelRow> found;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(found), [&](const KernelRow& row) {
    return *row.use != "check" && std::find(ops.begin(), ops.end(), row.op) != ops.end();
  });
  return found;
}

// One row gives the rate alone.
void fit_memory(MemoryCurve& curve, const std::vector<KernelRow>& rows) {
  FitRows out;
  for (const KernelRow& row : rows) {
    const double bytes = extent(row, 0);
    out.add(*row.use, {row.op + " " + label(row), row.time.value,
                       [&curve, bytes] { return memory_time(curve, bytes).value; }});
    curve.min_bytes =
        std::min(&row == &rows.front() ? Bytes(INT64_MAX) : curve.min_bytes, Bytes(row.shape.front()));
    curve.max_bytes = std::max(&row == &rows.front() ? Bytes(0) : curve.max_bytes, Bytes(row.shape.front()));
  }
  const double us = microseconds(1).value, peak = curve.rate.value;
  fit_curve({{&curve.rate.value, peak / 2, peak * 2}, {&curve.overhead.value, us / 2, 10 * us}}, out,
            kLeastSpread, curve.evidence);
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
FitRows gemm_rows(const CalibrationFile& file, const GemmCurve& curve, const std::vector<KernelRow>& rows,
                  Seconds floor) {
  FitRows out;
  for (const KernelRow& row : rows) {
    const TileWork work = work_of(row);
    out.add(*row.use, {label(row), row.time.value, [&file, &curve, work, floor] {
                         const Seconds device =
                             gemm_time(curve, file.device.sms, file.elementwise.rate, work);
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
  curve.min_rows = curve.min_size = std::numeric_limits<double>::infinity();
  for (const KernelRow& row : rows) {
    const std::size_t last = row.shape.size() - 1;
    curve.max_flops = std::max(curve.max_flops, Flops(gemm_flops(work_of(row))));
    curve.min_rows = std::min(curve.min_rows, extent(row, last - 2));
    curve.min_size = std::min({curve.min_size, extent(row, last - 1), extent(row, last)});
  }
}

void fit_gemm(CalibrationFile& file, std::vector<KernelRow> rows) {
  std::erase_if(rows, misaligned);
  GemmCurve& curve = file.gemm;
  const double peak = file.device.bf16.value;
  const double us = microseconds(1).value;
  std::vector<Parameter> parameters = {{&curve.rate.value, peak / 2, peak},
                                       {&curve.odd_rate.value, peak / 40, peak / 2},
                                       {&curve.overhead.value, us, 12 * us},
                                       {&curve.memory_ramp.value, us / 100, 20 * us},
                                       {&curve.fill, 8, 1024},
                                       {&curve.tail, 0.05, 1},
                                       {&curve.intensity, 10, 85},
                                       {&curve.memory_share, 0.6, 1},
                                       {&curve.overlap, 1.5, 8}};
  const bool sums =
      std::any_of(rows.begin(), rows.end(), [](const auto& row) { return work_of(row).extra_bytes > 0; });
  if (sums) parameters.push_back({&curve.exposed.value, 0.01, 1});
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
  std::vector<Parameter> parameters = {{&curve.rate.value, file.gemm.rate.value / 2, file.device.bf16.value},
                                       {&curve.overhead.value, us, 60 * us}};
  const bool many =
      std::any_of(rows.begin(), rows.end(), [](const auto& row) { return row.op != "grouped_gemm"; });
  if (many)
    parameters.insert(parameters.end(), {{&curve.fill, 8, 1024},
                                         {&curve.tail, 0.05, 1},
                                         {&curve.overlap, 1.5, 8},
                                         {&curve.memory_ramp.value, us / 100, 20 * us},
                                         {&curve.memory_share, 0.6, 1}});
  const bool sums =
      std::any_of(rows.begin(), rows.end(), [](const auto& row) { return work_of(row).extra_bytes > 0; });
  if (sums) parameters.push_back({&curve.exposed.value, 0.01, 1});
  fit_curve(parameters, gemm_rows(file, curve, rows, Seconds(0)), kLeastSpread, curve.evidence);
  curve.odd_rate = FlopsPerSec(rounded(file.gemm.odd_rate.value * (curve.rate / file.gemm.rate)));
  set_range(curve, rows);
}

AttentionShape causal(const KernelRow& row, bool backward) {
  AttentionShape shape;
  const std::size_t last = row.shape.size() - 1;
  shape.batch = row.shape.at(0);
  shape.heads = row.shape.at(1), shape.kv_heads = row.shape.at(last - 2);
  shape.q_len = shape.kv_len = row.shape.at(last - 1);
  shape.head_dim = shape.value_dim = row.shape.at(last);
  shape.pairs = static_cast<double>(shape.q_len) * static_cast<double>(shape.q_len + 1) / 2;
  shape.backward = backward;
  return shape;
}

// Few shapes of one head size give the rate and the padding alone.
void fit_attention(CalibrationFile& file, AttentionCurve& curve, const std::vector<KernelRow>& rows,
                   bool backward) {
  const AttentionCurves& curves = file.attention;
  FitRows out;
  bool several = false;
  const auto sms = static_cast<double>(file.device.sms);
  curve.min_length = curve.max_length = static_cast<double>(causal(rows.front(), backward).q_len);
  for (const KernelRow& row : rows) {
    const AttentionShape shape = causal(row, backward);
    const PairWork work = pair_work(shape, curves.head_dim);
    out.add(*row.use, {label(row), row.time.value, [&curves, &curve, work, sms] {
                         return attention_time(curve, {curves.exponential, sms}, work).value;
                       }});
    several = several || shape.head_dim != curves.head_dim;
    curve.min_length = std::min(curve.min_length, static_cast<double>(shape.q_len));
    curve.max_length = std::max(curve.max_length, static_cast<double>(shape.q_len));
  }
  const double peak = file.device.bf16.value, us = microseconds(1).value;
  std::vector<Parameter> parameters = {{&curve.rate.value, peak / 10, peak}, {&curve.padding, 1, 4000}};
  if (several) {
    parameters.insert(parameters.end(), {{&curve.exponentials.value, 0.5, 4},
                                         {&curve.tail_rows.value, 1, 256},
                                         {&curve.overhead.value, us, 60 * us}});
  }
  fit_curve(parameters, out, kLeastSpread, curve.evidence);
}

}  // namespace

void fit_kernels(CalibrationFile& file, const std::vector<KernelRow>& rows) {
  const auto operators = rows_of(
      rows, {"copy", "add", "narrow", "gather", "norm", "rope", "swiglu", "swiglu.backward", "optimizer"});
  operators.size() > 1 ? fit_memory(file.elementwise, operators) : fit_copy(file.elementwise, operators);
  fit_gemm(file, rows_of(rows, {"gemm", "gemm_dgrad", "gemm_wgrad", "gemm_wgrad_fp32"}));
  fit_grouped(file, rows_of(rows, {"grouped_gemm", "grouped_gemm_dgrad", "grouped_gemm_wgrad",
                                   "grouped_gemm_wgrad_fp32"}));
  fit_attention(file, file.attention.flash2.forward, rows_of(rows, {"flash2_forward"}), false);
  fit_attention(file, file.attention.flash2.backward, rows_of(rows, {"flash2_backward"}), true);
  fit_attention(file, file.attention.cudnn.forward, rows_of(rows, {"cudnn_forward"}), false);
  fit_attention(file, file.attention.cudnn.backward, rows_of(rows, {"cudnn_backward"}), true);
}

}  // namespace tw
