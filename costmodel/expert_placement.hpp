// Which rank of ep holds which experts, some of them several times. Policies are the folder placements/:
// loads in, an expert for each slot of each rank out, nothing else.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "costmodel/model.hpp"

namespace tw {

struct PlacementAsk {
  std::span<const double> load;  // by expert; sums to 1
  std::int32_t ranks = 1, ranks_per_node = 1;
  std::int32_t slots = 1;  // of a rank: its experts and its replicas
};
struct PlacementPolicy {
  std::string_view name;
  int order;  // of display
  std::string_view help;
  bool replicates;  // knows what to do with more slots than experts
  bool own_node;    // a token goes to a copy on its own node where there is one; else to any alike
  std::vector<std::int32_t> (*place)(const PlacementAsk& ask);  // the expert of every slot, rank by rank
};
std::span<const PlacementPolicy* const> all_placements();

// A copy of an expert with its part of the load.
struct ExpertCopy {
  std::int32_t expert = 0;
  double load = 0;
};
// Every slot filled: one more copy, time and again, of the expert with the most load per copy; at most one
// for each rank (Expert Parallelism Load Balancer, github.com/deepseek-ai/EPLB). The most loaded first.
std::vector<ExpertCopy> replicated(const PlacementAsk& ask);
// Each to the least loaded of `bins` that has room and not that expert yet (if there is one): indices into
// `copies` by bin.
std::vector<std::vector<std::size_t>> packed(const std::vector<ExpertCopy>& copies, std::int32_t bins,
                                             std::int32_t room);

}  // namespace tw
