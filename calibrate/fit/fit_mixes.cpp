// Ratios of a kernel inside a whole layer over alone in a burst, for each dense layer of a log: rows "layer",
// then "mix.NAME" and "alone.NAME" of its operators. Routed layers stay out: they judge.
#include <algorithm>

#include "calibrate/fit/fit.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

struct Sums {
  double inside = 0, alone = 0;
  double ratio(double scale) const { return alone > 0 ? rounded(scale * inside / alone) : 1; }
};

struct MeasuredLayer {
  Sums gemm, attention;
  double others = 0;  // inside
  double whole = 0;
  // An event after each operator keeps it from beginning under the end of the one before: the operators are
  // scaled to what the layer takes without events.
  LoadAtShare load() const {
    const double all = gemm.inside + attention.inside + others, scale = whole / all;
    return {rounded(gemm.inside / all), gemm.ratio(scale), attention.ratio(scale), 1};
  }
};

void add(MeasuredLayer& layer, const KernelRow& row) {
  const bool inside = row.op.starts_with("mix."), alone = row.op.starts_with("alone.");
  if (!inside && !alone) return;
  const bool gemm = row.op.find(".gemm") != std::string::npos,
             attention = row.op.find(".cudnn") != std::string::npos;
  if (!gemm && !attention) {
    layer.others += inside ? row.time.value : 0;
    return;
  }
  Sums& sums = gemm ? layer.gemm : layer.attention;
  (inside ? sums.inside : sums.alone) += row.time.value;
}

}  // namespace

void fit_mixes(CalibrationFile& file, const std::vector<KernelRow>& rows) {
  std::vector<MeasuredLayer> layers;
  bool dense = false;
  for (const KernelRow& row : rows) {
    if (row.op == "layer" || row.op == "moe_layer") {
      dense = row.op == "layer";
      if (dense) layers.emplace_back().whole = row.time.value;
    } else if (dense) {
      add(layers.back(), row);
    }
  }
  if (layers.empty()) return;
  std::vector<LoadAtShare> mixes;
  for (const MeasuredLayer& layer : layers) mixes.push_back(layer.load());
  std::sort(mixes.begin(), mixes.end(),
            [](const auto& a, const auto& b) { return a.gemm_share < b.gemm_share; });
  file.sustained.value.mixes = mixes;
}

}  // namespace tw
