#include "train/operators.hpp"

namespace tw::train {
namespace {

WeightUse tied_table(const View& view) {
  return {view.program().tied_unit(view.stage()), 0};
}

}  // namespace

WeightUse weight_use(const View& view, const Operands& io, std::int32_t unit) {
  const Unit::Kind kind = view.units()[static_cast<std::size_t>(unit)].kind;
  WeightUse out = io.weight < 0 ? tied_table(view) : WeightUse{unit, static_cast<std::size_t>(io.weight)};
  out.read = reads_weight(io, kind), out.gradient = writes_weight_gradient(io, kind);
  return out;
}

// Its own comes last in its weights, behind the norm's.
WeightUse head_table(const View& view, const LayerWork& work, std::int32_t unit) {
  return work.weights.size() == 1 ? tied_table(view) : WeightUse{unit, work.weights.size() - 1};
}

}  // namespace tw::train
