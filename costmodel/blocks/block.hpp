// A block declares weights and operators over tensors with named axes; the builder places them and
// derives conversions, the backward and what is kept. A layer is its mixer block, then its ffn block.
#pragma once

#include <span>
#include <string_view>

#include "costmodel/blocks/builder.hpp"
#include "costmodel/model.hpp"

namespace tw {

struct Block {
  std::string_view name;
  int order;  // within a layer: mixers below 10, ffns from 10
  std::string_view help;
  bool (*applies)(const LayerKind& kind);
  // Takes the normed residual, returns what is added to it (any placement).
  TensorId (*emit)(Builder& builder, const LayerKind& kind, TensorId input);
};
std::span<const Block* const> all_blocks();

}  // namespace tw
