#include "costmodel/model.hpp"

#include <algorithm>

namespace tw {

bool Model::has_moe() const { return moe() != nullptr; }

const Moe* Model::moe() const {
  for (const LayerKind& kind : kinds) {
    if (kind.moe) return &*kind.moe;
  }
  return nullptr;
}

void add_layer(Model& model, const LayerKind& kind) {
  auto found = std::find(model.kinds.begin(), model.kinds.end(), kind);
  const auto index = static_cast<std::uint8_t>(found - model.kinds.begin());
  if (found == model.kinds.end()) model.kinds.push_back(kind);
  model.layer_kind.push_back(index);
}

}  // namespace tw
