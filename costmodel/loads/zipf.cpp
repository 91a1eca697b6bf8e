// Zipf's law: the nth most popular expert gets 1/n^S of the most popular one's tokens.
#include "costmodel/expert_load.hpp"

namespace tw::loads {
namespace {

std::vector<double> shares(const LoadAsk& ask) {
  const std::vector<double> ranked = zipf_shares(ask.experts, ask.parameter);
  const std::vector<std::int32_t> order = shuffled_experts(ask.experts, ask.layer, ask.seed);
  std::vector<double> out(ranked.size());
  for (std::size_t i = 0; i < ranked.size(); ++i) out[static_cast<std::size_t>(order[i])] = ranked[i];
  return out;
}

}  // namespace

extern constinit const ExpertLoad zipf;
constinit const ExpertLoad zipf = {
    "zipf", 2, "zipf:S, the nth most popular expert gets 1/n^S of the first; another order in each layer",
    1,      0, 10,
    shares};

}  // namespace tw::loads
