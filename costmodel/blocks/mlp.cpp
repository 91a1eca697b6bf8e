// The dense feed-forward: gate and up (or one) projection cut by columns, down by rows (Shoeybi et
// al. 2019, arXiv 1909.08053, section 3).
#include "costmodel/blocks/block.hpp"
#include "costmodel/blocks/ffn.hpp"

namespace tw::blocks {
namespace {

bool applies(const LayerKind& kind) {
  return kind.mlp.has_value();
}

TensorId emit(Builder& b, const LayerKind& kind, TensorId input) {
  const Mlp& mlp = *kind.mlp;
  b.enter(Module::mlp);
  const std::int64_t projections = mlp.gated ? 2 : 1;
  const TensorId up = b.linear({.name = "mlp_up",
                                .out = projections * mlp.ffn,
                                .split = Split::column,
                                .axis = AxisName::ffn,
                                .bias = mlp.bias,
                                .parts = mlp.gated ? Widths{mlp.ffn, mlp.ffn} : Widths{}},
                               b.require(input, kWhole));
  const TensorSpec middle{
      .name = "activation", .rows = b.tokens(), .width = mlp.ffn, .place = cut(AxisName::ffn)};
  const TensorId act = activation(b, up, middle, mlp.gated, Module::mlp);
  return b.linear({.name = "mlp_down",
                   .out = b.model().hidden,
                   .split = Split::row,
                   .axis = AxisName::hidden,
                   .bias = mlp.bias},
                  act);
}

}  // namespace

extern constinit const Block mlp;
constinit const Block mlp{"mlp", 10, "dense feed-forward, gated or plain", applies, emit};

}  // namespace tw::blocks
