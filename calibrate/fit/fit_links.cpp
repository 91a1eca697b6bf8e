#include <algorithm>
#include <cmath>
#include <string_view>

#include "calibrate/fit/fit.hpp"
#include "costmodel/collectives/algorithm.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

// Published runs of one collective on two clusters of the same GPU differ by this much.
constexpr double kLeastSpread = 0.05;
// On a CPU, of the longest exchange, which is one layer's gradients: what is much shorter is noise of the
// system, and a thousandth of a step.
constexpr double kTooShort = 0.01;

const Algorithm& algorithm_named(std::string_view name) {
  for (const Algorithm* each : all_collectives()) {
    if (each->name == name) return *each;
  }
  throw InputError(name, "algorithm", "no such algorithm");
}

CollectiveCall call_of(const CollectiveRow& row, BytesPerSec copy_rate) {
  CollectiveCall call;
  call.kind = row.collective;
  call.bytes = row.bytes.to_double();
  call.copy_rate = row.copy_rate->value > 0 ? *row.copy_rate : copy_rate;
  call.links.ranks = row.ranks;
  call.links.nodes = row.nodes;
  call.links.ranks_per_node = row.ranks / row.nodes;
  call.links.intra = row.intra * *row.link_scale;
  call.links.inter = *row.inter;
  call.links.inter_latency = *row.inter_latency;
  return call;
}

std::string label(const CollectiveRow& row) {
  return row.gpu + " " + std::string(name_of(row.collective)) + " " + std::to_string(row.ranks) + "/" +
         std::to_string(row.nodes) + " " + std::to_string(row.bytes.count) + " B";
}

struct Selection {
  std::string_view algorithm;
  bool network = false;
  Seconds floor;  // of rows launched from PyTorch
};

using Rows = std::vector<CollectiveRow>;

bool on_cpu(const CalibrationFile& file) {
  return file.device.architecture == "cpu";
}

Seconds longest(const Rows& rows, const Selection& wanted) {
  Seconds most(0);
  for (const CollectiveRow& row : rows) {
    if (row.algorithm == wanted.algorithm && (row.nodes > 1) == wanted.network)
      most = std::max(most, row.time);
  }
  return most;
}

void add_rows(const CalibrationFile& file, const Rows& rows, const Selection& wanted, FitRows& out) {
  const double too_short = on_cpu(file) ? kTooShort * longest(rows, wanted).value : 0;
  for (const CollectiveRow& row : rows) {
    if (row.use == "check" || row.algorithm != wanted.algorithm || (row.nodes > 1) != wanted.network)
      continue;
    const Algorithm& algorithm = algorithm_named(row.algorithm);
    const CollectiveCall call = call_of(row, file.elementwise.rate);
    const Seconds floor = wanted.floor;
    const auto predict = [&file, &algorithm, call, floor] {
      return std::max(floor, algorithm.time(call, file.links)).value;
    };
    out.add(row.use, {label(row), row.time.value, predict, too_short});
  }
}

// The shortest time of any size: what the host needs to launch one.
Seconds host_floor(const Rows& rows, std::string_view algorithm) {
  Seconds least(1);
  for (const CollectiveRow& row : rows) {
    if (row.algorithm == algorithm) least = std::min(least, row.time);
  }
  return least;
}

struct Rates {
  const Rows& measured;
  const Rows& published;
};

void set_range(LinkCurve& curve, const Rates& rows, const Selection& wanted) {
  curve.min_bytes = Bytes(INT64_MAX);
  curve.max_bytes = Bytes(0);
  for (const Rows* each : {&rows.measured, &rows.published}) {
    for (const CollectiveRow& row : *each) {
      if (row.use != "fit" || row.algorithm != wanted.algorithm || (row.nodes > 1) != wanted.network)
        continue;
      curve.min_bytes = std::min(curve.min_bytes, row.bytes);
      curve.max_bytes = std::max(curve.max_bytes, row.bytes);
    }
  }
}

// What no row says, as a guess that a band shows to be one.
void not_measured(LinkCurve& curve) {
  curve = {0.5, microseconds(50), 0.5, microseconds(20), microseconds(5), Bytes(0), Bytes(0), {}};
  curve.evidence = {Provenance::derived, 0.5, 0.1, "a guess: nothing of it was measured", {}, {}};
}

// A message that carries nothing takes no longer than the shortest that was seen.
double most_base(const CalibrationFile& file, const FitRows& rows) {
  const double us = microseconds(1).value;
  if (on_cpu(file)) return 2000 * us;
  double shortest = 1;
  for (const FitRow& row : rows.fitted) shortest = std::min(shortest, row.measured);
  return std::max(60 * us, shortest);
}

void fit_link(CalibrationFile& file, LinkCurve& curve, const Rates& rows, Selection wanted) {
  FitRows all;
  add_rows(file, rows.published, wanted, all);
  if (!wanted.network) wanted.floor = host_floor(rows.measured, wanted.algorithm);
  add_rows(file, rows.measured, wanted, all);
  if (all.fitted.empty()) return not_measured(curve);
  const double us = microseconds(1).value;
  std::vector<Parameter> parameters = {{&curve.efficiency, 0.2, 0.97},
                                       {&curve.ramp.value, us / 100, 1000 * us},
                                       {&curve.power, 0.2, 0.95},
                                       {&curve.base.value, us, most_base(file, all)}};
  // One shape of group says nothing of the latency per hop: then it is stated in the file.
  if (wanted.algorithm == "tree") parameters.push_back({&curve.hop.value, us / 10, 40 * us});
  fit_curve(parameters, all, kLeastSpread, curve.evidence);
  set_range(curve, rows, wanted);
}

}  // namespace

std::vector<DispatchResiduals> dispatch_residuals(const CalibrationFile& file, const Rows& rows,
                                                  Bytes least) {
  std::vector<DispatchResiduals> all;
  for (const CollectiveRow& row : rows) {
    if (row.bytes < least) continue;
    const CollectiveCall call = call_of(row, file.elementwise.rate);
    std::string name = label(row);
    name = row.use + " " + row.algorithm + ": " + name.substr(0, name.rfind(' ', name.size() - 3));
    auto found = std::find_if(all.begin(), all.end(), [&](const auto& each) { return each.at == name; });
    if (found == all.end()) found = all.insert(all.end(), {name, {}});
    LinkCurves links = file.links;
    links.nvls = links.nvls && row.algorithm != "ring";  // rows of rings ran without
    const Seconds time = fastest(call, links)->time(call, links);
    found->residuals.push_back(std::log(time / row.time));
  }
  return all;
}

void drop_link_points(CalibrationFile& file) {
  LinkCurves& links = file.links;
  for (LinkCurve* curve : {&links.ring_intra, &links.nvls_intra, &links.pairwise_intra, &links.send_intra,
                           &links.ring_inter, &links.tree_inter, &links.pairwise_inter, &links.send_inter}) {
    curve->evidence.points.value.clear();
  }
}

void fit_links(CalibrationFile& file, const Rows& measured, const Rows& published) {
  LinkCurves& links = file.links;
  const Rates rows{measured, published};
  fit_link(file, links.ring_intra, rows, {"ring", false, {}});
  fit_link(file, links.nvls_intra, rows, {"nvls", false, {}});
  fit_link(file, links.pairwise_intra, rows, {"pairwise", false, {}});
  fit_link(file, links.send_intra, rows, {"direct", false, {}});
  fit_link(file, links.ring_inter, rows, {"ring", true, {}});
  fit_link(file, links.tree_inter, rows, {"tree", true, {}});
  fit_link(file, links.pairwise_inter, rows, {"pairwise", true, {}});
  fit_link(file, links.send_inter, rows, {"direct", true, {}});
}

}  // namespace tw
