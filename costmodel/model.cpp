#include "costmodel/model.hpp"

#include <algorithm>
#include <filesystem>

#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {

bool Model::has_moe() const {
  return moe() != nullptr;
}

const Moe* Model::moe() const {
  for (const LayerKind& kind : kinds) {
    if (kind.moe) return &*kind.moe;
  }
  return nullptr;
}

const Attention& Model::attention() const {
  for (const LayerKind& kind : kinds) {
    if (kind.attention.kind != AttentionKind::none) return kind.attention;
  }
  return kinds.front().attention;
}

void add_layer(Model& model, const LayerKind& kind) {
  auto found = std::find(model.kinds.begin(), model.kinds.end(), kind);
  const auto index = static_cast<std::uint8_t>(found - model.kinds.begin());
  if (found == model.kinds.end()) model.kinds.push_back(kind);
  model.layer_kind.push_back(index);
}

Model read_model(const JsonView& config, std::string_view name) {
  const JsonView key = config.at("model_type");
  const std::string architecture = key.string();
  const Family* family = find_row(all_families(), architecture);
  if (family == nullptr) {
    key.fail("unknown architecture \"" + printable(architecture) + "\"; known: " + names_of(all_families()));
  }
  Model model = family->read(config);
  model.name = std::string(name);
  model.family = architecture;
  return model;
}

Model load_model(std::string_view name_or_path) {
  const std::filesystem::path path = scenario_path("models", name_or_path);
  const bool plain = path.stem() == "config" && path.has_parent_path();
  const std::string name = plain ? path.parent_path().filename().string() : path.stem().string();
  return read_model(load_json(path.string()), name);
}

}  // namespace tw
