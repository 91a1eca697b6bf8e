// Early in training: one expert of a layer takes F times the mean at step 0, and the excess halves every 100
// steps, while the balancing loss sets in. An assumption for what-if questions; a measured course is a file.
#include <cmath>

#include "costmodel/expert_load.hpp"

namespace tw::loads {
namespace {

constexpr double kHalving = 100;  // steps

std::vector<double> shares(const LoadAsk& ask) {
  const double excess = (ask.parameter - 1) * std::exp2(-static_cast<double>(ask.step) / kHalving);
  const double hot = 1 + excess, rest = (ask.experts - hot) / std::max(1, ask.experts - 1);
  std::vector<double> out(static_cast<std::size_t>(ask.experts), std::max(rest, 0.0));
  const std::vector<std::int32_t> order = shuffled_experts(ask.experts, ask.layer, ask.seed);
  out[static_cast<std::size_t>(order.front())] = hot;
  return out;
}

}  // namespace

extern constinit const ExpertLoad spike;
constinit const ExpertLoad spike = {
    "spike",
    3,
    "spike:F, one expert of a layer gets F times the mean at step 0; half as much more every 100 steps",
    4,
    1,
    500,
    shares};

}  // namespace tw::loads
