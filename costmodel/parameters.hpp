// Parameters and FLOPs of a model, summed over the weights that its blocks declare.
#pragma once

#include "costmodel/model.hpp"
#include "topology/units.hpp"

namespace tw {

// total: the checkpoint without multi-token prediction; active: what one token uses (top_k experts),
// embedding and head included; mtp: the multi-token-prediction modules, without shared copies.
struct ParameterCount {
  std::int64_t total = 0, active = 0, mtp = 0;
};
ParameterCount count_parameters(const Model& model);

// Model FLOPs of one training step of one token: 6 per active parameter outside the embedding
// look-up, plus attention with the causal half only (Narayanan et al. 2021, arXiv 2104.04473,
// appendix, without recomputation; 12 -> 6 by causality).
Flops model_flops_per_token(const Model& model, std::int32_t seq);

}  // namespace tw
