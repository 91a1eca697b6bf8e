#include "costmodel/blocks/ffn.hpp"

#include <cmath>

namespace tw {

// Bytes in units of the output: gated reads 2 and writes 1, backward reads 3 and writes 2; plain 1+1
// and 2+1. Unfused gated (activation, then product): 2 + 3 forward; backward 3 for each factor of the
// product, then 3; the activated gate is kept for the product.
TensorId activation(Builder& b, TensorId x, const TensorSpec& out, bool gated, Module module) {
  const double unit = static_cast<double>(b.local_bytes(x)) / (gated ? 2 : 1);
  const bool split = gated && !b.kernels().fused_activation;
  const double forward = gated ? (split ? 5 : 3) : 2;
  const double backward = gated ? (split ? 9 : 5) : 3;
  return b.pointwise({.name = "activation",
                      .what = Operator::activation,
                      .out = out,
                      .forward_bytes = forward * unit,
                      .backward_bytes = backward * unit,
                      .keeps_input = true,
                      .module = module,
                      .launches = static_cast<std::int16_t>(split ? 2 : 1),
                      .kept_bytes = split ? std::llround(unit) : 0},
                     {x});
}

}  // namespace tw
