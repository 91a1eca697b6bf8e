// As balanced, but copies go to nodes first, those of one expert to different nodes, then to ranks within
// (EPLB's hierarchical mode); a token stays on its node where a copy is.
#include "costmodel/expert_placement.hpp"

namespace tw::placements {
namespace {

std::vector<std::int32_t> place(const PlacementAsk& ask) {
  const std::vector<ExpertCopy> copies = replicated(ask);
  std::vector<std::int32_t> out;
  for (const std::vector<std::size_t>& node :
       packed(copies, ask.ranks / ask.ranks_per_node, ask.ranks_per_node * ask.slots)) {
    std::vector<ExpertCopy> here;
    for (const std::size_t copy : node) here.push_back(copies[copy]);
    for (const std::vector<std::size_t>& rank : packed(here, ask.ranks_per_node, ask.slots)) {
      for (const std::size_t copy : rank) out.push_back(here[copy].expert);
    }
  }
  return out;
}

}  // namespace

extern constinit const PlacementPolicy topology;
constinit const PlacementPolicy topology = {
    "topology", 4, "as balanced, over nodes first; tokens go to a copy on their own node", true, true, place};

}  // namespace tw::placements
