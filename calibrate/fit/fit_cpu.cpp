#include <algorithm>
#include <cmath>
#include <map>

#include "calibrate/fit/fit.hpp"
#include "costmodel/program/routing.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

// Two runs of one program on one machine differ by a few per cent.
constexpr double kLeastSpread = 0.03;
constexpr double kNoBound = 1e18;

using Rows = std::vector<KernelRow>;

std::string label(const KernelRow& row) {
  std::string text = row.op;
  for (const std::int64_t each : row.shape) text += ' ' + std::to_string(each);
  return text;
}

double at(const KernelRow& row, std::size_t i) {
  return static_cast<double>(row.shape.at(i));
}

GemmPass pass_of(std::string_view op) {
  if (op.ends_with("_dgrad")) return GemmPass::dgrad;
  return op.ends_with("_wgrad") ? GemmPass::wgrad : GemmPass::forward;
}

TileWork work_of(const KernelRow& row) {
  if (row.op.starts_with("grouped")) {
    GroupedGemmShape shape{
        .groups = row.shape.at(0), .rows = at(row, 1), .n = row.shape.at(2), .k = row.shape.at(3)};
    shape.pass = pass_of(row.op), shape.accumulate_fp32 = true;
    return tile_work(shape);
  }
  return tile_work({row.shape.at(0), row.shape.at(1), row.shape.at(2), pass_of(row.op), true});
}

Rows starting_with(const Rows& rows, std::string_view name) {
  Rows found;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(found),
               [&](const KernelRow& row) { return row.op.starts_with(name); });
  if (found.empty()) throw InputError("calibration", "rows", "no row of \"" + std::string(name) + "\"");
  return found;
}

Evidence measured(std::string source) {
  return {Provenance::measured, kLeastSpread, 0.05, "measured: " + std::move(source), {}, {}};
}

// The soft maximum becomes a sum: a core converts, then multiplies. Tiles as small as its registers.
void fit_gemm(const CalibrationFile& file, GemmCurve& curve, const Rows& rows) {
  const double us = microseconds(1).value, peak = file.device.bf16.value;
  curve.tail = 1, curve.intensity = 1, curve.overlap = 1, curve.memory_ramp = Seconds(1e-12);
  curve.tiles = std::vector<TileShape>{{8, 4}};
  curve.evidence = measured("every linear of the trainer's steps on all ranks at once");
  FitRows all;
  for (const KernelRow& row : rows) {
    const TileWork work = work_of(row);
    all.fitted.push_back({label(row), row.time.value, [&file, &curve, work] {
                            return gemm_time(curve, file.device.sms, file.elementwise.rate, work).value;
                          }});
    curve.max_flops = std::max(curve.max_flops, Flops(gemm_flops(work)));
    curve.min_rows = all.fitted.size() == 1 ? work.rows : std::min(curve.min_rows, work.rows);
    const double smallest = std::min(work.cols, work.depth);
    curve.min_size = all.fitted.size() == 1 ? smallest : std::min(curve.min_size, smallest);
  }
  fit_curve({{&curve.rate.value, peak / 1000, peak * 4},
             {&curve.overhead.value, us / 100, 100 * us},
             {&curve.fill, 0.1, 500},
             {&curve.memory_share, 0.005, 1}},
            all, kLeastSpread, curve.evidence);
  curve.odd_rate = curve.rate;
}

void fit_line(MemoryCurve& curve, const Rows& rows) {
  const double us = microseconds(1).value;
  curve.evidence = measured("the operator in the trainer's steps on all ranks at once");
  FitRows all;
  curve.min_bytes = curve.max_bytes = Bytes(rows.front().shape.front());
  for (const KernelRow& row : rows) {
    const double bytes = at(row, 0);
    all.fitted.push_back(
        {label(row), row.time.value, [&curve, bytes] { return memory_time(curve, bytes).value; }});
    curve.min_bytes = std::min(curve.min_bytes, Bytes(row.shape.front()));
    curve.max_bytes = std::max(curve.max_bytes, Bytes(row.shape.front()));
  }
  fit_curve({{&curve.rate.value, 1e6, 1e12}, {&curve.overhead.value, us / 100, 1000 * us}}, all, kLeastSpread,
            curve.evidence);
}

void fit_attention(CalibrationFile& file, AttentionCurve& curve, const Rows& rows, bool backward) {
  const AttentionCurves& curves = file.attention;
  curve.evidence = measured("attention in the trainer's steps on all ranks at once");
  curve.min_length = curve.max_length = at(rows.front(), 2);
  FitRows all;
  for (const KernelRow& row : rows) {
    AttentionShape shape{.batch = row.shape.at(0), .heads = row.shape.at(1), .kv_heads = row.shape.at(1)};
    shape.q_len = shape.kv_len = row.shape.at(2), shape.head_dim = shape.value_dim = row.shape.at(3);
    shape.pairs = at(row, 2) * (at(row, 2) + 1) / 2, shape.backward = backward;
    const PairWork work = pair_work(shape, curves.head_dim);
    all.fitted.push_back(
        {label(row), row.time.value, [&file, &curves, &curve, work] {
           return attention_time(curve, {curves.exponential, static_cast<double>(file.device.sms)}, work)
               .value;
         }});
    curve.min_length = std::min(curve.min_length, at(row, 2));
    curve.max_length = std::max(curve.max_length, at(row, 2));
  }
  const double us = microseconds(1).value;
  fit_curve({{&curve.rate.value, 1e6, file.device.bf16.value * 4},
             {&curve.padding, 0.1, 4000},
             {&curve.overhead.value, us / 100, 1000 * us}},
            all, kLeastSpread, curve.evidence);
}

// Operators by name; those of the backward end in ".backward".
void fit_operators(CalibrationFile& file, const Rows& rows) {
  std::map<std::string, Rows> by_name;
  for (const KernelRow& row : rows) {
    if (row.shape.size() == 1 && row.op != "copy") by_name[row.op].push_back(row);
  }
  for (const auto& [name, own] : by_name) {
    if (name.ends_with(".backward")) continue;
    OperatorCurves& curves = file.operators.value[name];
    fit_line(curves.forward, own);
    const auto backward = by_name.find(name + ".backward");
    curves.backward = curves.forward;
    if (backward != by_name.end()) fit_line(curves.backward, backward->second);
  }
  for (const auto& [name, own] : by_name) {
    if (!name.ends_with(".backward")) continue;
    const std::string forward = name.substr(0, name.rfind('.'));
    if (by_name.count(forward) > 0) continue;
    OperatorCurves& curves = file.operators.value[forward];
    fit_line(curves.backward, own);
    curves.forward = curves.backward;
  }
}

// What a CPU has not, stated as such.
void fill_rest(CalibrationFile& file) {
  file.passes = {0.01, "forward and backward are rows of one curve"};
  const std::string none = "derived: a CPU has one attention kernel";
  file.attention.flash1 = file.attention.flash3 = {"flash2", 1, 0.1, none};
  file.attention.unfused = {16, 32, 0.5, none};
  file.attention.scan = {"flash2", 1, 0.5, none};
  file.attention.source = "measured in the trainer's steps";
  file.attention.other_dim_spread = 0.1;
  file.links.logged_ranks_per_node = 1, file.links.logged_nodes = 1;
  file.links.other_shape_spread = 0.1;
  HostCosts& host = file.host;
  host.launch = host.synchronise = host.copy_overhead = Seconds(0);
  host.copy_share = 1, host.spread = 0.1;
  host.source = "an operator is a function call; context: resident memory of a rank before it holds a model";
}

// The share of the deviation that tokens which all chose alike would cause: the mean over what was measured.
double likeness_of(const std::vector<RoutingRow>& rows) {
  double sum = 0;
  for (const RoutingRow& row : rows) {
    const Moe moe{.experts = row.experts, .top_k = row.top_k};
    sum += row.deviation / (mean_absolute_of_normal() * deviation_if_alike(moe, row.ranks));
  }
  return rows.empty() ? 0 : sum / static_cast<double>(rows.size());
}

// MPI chooses how it reduces, and that is measured as the ring's: a tree is never taken for faster.
void name_measured(LinkCurves& links, const std::string& source) {
  links.tree_inter = links.ring_inter;
  links.tree_inter.efficiency = links.ring_inter.efficiency / 100;
  for (LinkCurve* curve : {&links.ring_intra, &links.pairwise_intra, &links.send_intra, &links.ring_inter,
                           &links.tree_inter, &links.pairwise_inter, &links.send_inter}) {
    if (curve->evidence.source.empty()) curve->evidence.source = source;
  }
}

constexpr char kOfSteps[] = "measured: exchanges of the trainer's steps";

}  // namespace

void fit_between_hosts(CalibrationFile& file, const std::vector<CollectiveRow>& rows,
                       const std::string& source) {
  const LinkCurves inside = file.links;
  for (LinkCurve* curve : {&file.links.ring_inter, &file.links.pairwise_inter, &file.links.send_inter})
    curve->evidence = {};
  fit_links(file, rows, {});
  file.links.ring_intra = inside.ring_intra, file.links.nvls_intra = inside.nvls_intra;
  file.links.pairwise_intra = inside.pairwise_intra, file.links.send_intra = inside.send_intra;
  name_measured(file.links, source);
}

CalibrationFile fit_cpu(const MeasuredFile& rows, const Gpu& device) {
  CalibrationFile file;
  file.device = {
      "local-cpu",         "cpu",       device.sms, device.bf16, device.memory_rate, device.nvlink_one_way,
      device.pcie_one_way, device.power};
  fill_rest(file);
  fit_line(file.elementwise, starting_with(*rows.kernels, "copy"));
  fit_gemm(file, file.gemm, starting_with(*rows.kernels, "gemm"));
  fit_gemm(file, file.grouped_gemm, starting_with(*rows.kernels, "grouped_gemm"));
  file.attention.head_dim = 32;
  file.attention.exponential = FlopsPerSec(kNoBound);
  fit_attention(file, file.attention.flash2.forward, starting_with(*rows.kernels, "attention_forward"),
                false);
  fit_attention(file, file.attention.flash2.backward, starting_with(*rows.kernels, "attention_backward"),
                true);
  file.attention.cudnn = file.attention.flash2;
  fit_operators(file, *rows.kernels);
  fit_links(file, *rows.collectives, {});
  name_measured(file.links, kOfSteps);
  file.likeness = likeness_of(*rows.routing);
  return file;
}

}  // namespace tw
