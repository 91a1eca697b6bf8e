// Replicas for the most loaded experts, then the heaviest copy to the least loaded rank (EPLB's global mode).
#include "costmodel/expert_placement.hpp"

namespace tw::placements {
namespace {

std::vector<std::int32_t> place(const PlacementAsk& ask) {
  const std::vector<ExpertCopy> copies = replicated(ask);
  std::vector<std::int32_t> out;
  for (const std::vector<std::size_t>& rank : packed(copies, ask.ranks, ask.slots)) {
    for (const std::size_t copy : rank) out.push_back(copies[copy].expert);
  }
  return out;
}

}  // namespace

extern constinit const PlacementPolicy balanced;
constinit const PlacementPolicy balanced = {
    "balanced", 3,     "replicas of the most loaded experts; the heaviest copy to the least loaded rank",
    true,       false, place};

}  // namespace tw::placements
