// Experts dealt out one by one, and from the first on again where there is room.
#include "costmodel/expert_placement.hpp"

namespace tw::placements {
namespace {

std::vector<std::int32_t> place(const PlacementAsk& ask) {
  const auto experts = static_cast<std::int32_t>(ask.load.size());
  std::vector<std::int32_t> out;
  for (std::int32_t rank = 0; rank < ask.ranks; ++rank) {
    for (std::int32_t slot = 0; slot < ask.slots; ++slot) out.push_back((slot * ask.ranks + rank) % experts);
  }
  return out;
}

}  // namespace

extern constinit const PlacementPolicy round_robin;
constinit const PlacementPolicy round_robin = {
    "round-robin", 2,     "experts dealt out to ranks one by one, replicas from the first on",
    true,          false, place};

}  // namespace tw::placements
