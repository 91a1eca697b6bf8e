// Zipf's law whose popular experts change: every 10 steps each place of the order passes to the next expert.
// An assumption for what-if questions; a measured course is a file.
#include "costmodel/expert_load.hpp"

namespace tw::loads {
namespace {

constexpr std::int64_t kHolds = 10;  // steps

std::vector<double> shares(const LoadAsk& ask) {
  const std::vector<double> ranked = zipf_shares(ask.experts, ask.parameter);
  const std::vector<std::int32_t> order = shuffled_experts(ask.experts, ask.layer, ask.seed);
  const auto moved = static_cast<std::size_t>(ask.step / kHolds);
  std::vector<double> out(ranked.size());
  for (std::size_t i = 0; i < ranked.size(); ++i)
    out[static_cast<std::size_t>(order[(i + moved) % order.size()])] = ranked[i];
  return out;
}

}  // namespace

extern constinit const ExpertLoad drift;
constinit const ExpertLoad drift = {
    "drift", 4,     "drift:S, as zipf:S, and every 10 steps popularity passes to the next expert", 1, 0,
    10,      shares};

}  // namespace tw::loads
