// Pieces that the feed-forward blocks share: the activation between the projections.
#pragma once

#include "costmodel/blocks/builder.hpp"

namespace tw {

// SwiGLU (gated: reads gate and up) or a plain activation on `x`, features cut over tp (etp).
TensorId activation(Builder& builder, TensorId x, const TensorSpec& out, bool gated, Module module);

}  // namespace tw
