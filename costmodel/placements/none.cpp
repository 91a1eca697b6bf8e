// Experts in order, as frameworks place them: rank r holds the rth block (Megatron-Core moe/experts.py).
#include <numeric>

#include "costmodel/expert_placement.hpp"

namespace tw::placements {
namespace {

std::vector<std::int32_t> place(const PlacementAsk& ask) {
  std::vector<std::int32_t> out(ask.load.size());
  std::iota(out.begin(), out.end(), 0);
  return out;
}

}  // namespace

extern constinit const PlacementPolicy none;
constinit const PlacementPolicy none = {"none", 1,     "experts in order, a block on each rank",
                                        false,  false, place};

}  // namespace tw::placements
