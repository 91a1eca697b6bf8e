// What model names stand for: those of scenarios/models by the words of their names, and the
// conventions of families for models that are not there. Sources beside each row of the tables.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "costmodel/model.hpp"

namespace tw::validate {

struct NamedModel {
  std::vector<std::string_view> needles;  // all of them in the name's letters and digits
  std::string_view scenario;
};
std::span<const NamedModel> named_models();

struct LatentConvention {
  std::int32_t q_rank, kv_rank, nope, rope, value;
};

struct Convention {
  std::string_view name;
  bool gated, bias, tied, learned_positions;
  NormKind norm;
  std::int32_t vocab;
  std::int32_t dense_layers;  // before the first layer with experts
  std::optional<LatentConvention> latent;
};
std::span<const Convention> conventions();
// By the words of the name; llama's where no family is known.
const Convention& convention_of(std::string_view model_name);

}  // namespace tw::validate
