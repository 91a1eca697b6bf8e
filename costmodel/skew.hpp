// What unequal experts and their placement do to the ranks of ep: rows that each gets, and who sends how much
// to whom. Tokens of all ranks choose alike.
#pragma once

#include <string>
#include <vector>

#include "costmodel/model.hpp"

namespace tw {

struct SkewAsk {
  std::string load = "balanced", placement = "none";
  std::int32_t replicas = 0;  // expert slots of each rank beyond its experts
  std::int64_t step = 0;      // of the run, where the load changes
  std::uint64_t seed = 1;
  friend bool operator==(const SkewAsk&, const SkewAsk&) = default;
};
struct LayerSkew {
  std::vector<double> rows;  // of each rank of ep over the mean
  std::vector<double> to;    // ranks x ranks: part of a sender's bytes that goes to each; rows sum to 1
};

// By layer of the model; empty where it has no experts. InputError for what is unknown or cannot be.
std::vector<LayerSkew> skew_of(const Model& model, std::int32_t ep, std::int32_t ranks_per_node,
                               const SkewAsk& ask);

}  // namespace tw
