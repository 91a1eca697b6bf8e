#include "costmodel/skew.hpp"

#include <fmt/format.h>

#include "costmodel/expert_load.hpp"
#include "costmodel/expert_placement.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

const PlacementPolicy& policy_of(const SkewAsk& ask) {
  const PlacementPolicy* policy = find_row(all_placements(), ask.placement);
  if (!policy)
    throw InputError(
        "command line", "--placement",
        fmt::format("\"{}\" is unknown; legal: {}", printable(ask.placement), names_of(all_placements())));
  if (ask.replicas > 0 && !policy->replicates)
    throw InputError("command line", "--replicas", fmt::format("placement {} has none", policy->name));
  return *policy;
}

LayerSkew layer_skew(const PlacementPolicy& policy, const PlacementAsk& ask) {
  const std::vector<std::int32_t> expert = policy.place(ask);
  const auto n = static_cast<std::size_t>(ask.ranks), slots = static_cast<std::size_t>(ask.slots);
  TW_CHECK(expert.size() == n * slots);
  std::vector<std::vector<std::size_t>> ranks_of(ask.load.size());
  for (std::size_t slot = 0; slot < expert.size(); ++slot)
    ranks_of[static_cast<std::size_t>(expert[slot])].push_back(slot / slots);
  LayerSkew out{std::vector<double>(n, 0), std::vector<double>(n * n, 0)};
  const auto node = [&](std::size_t rank) { return rank / static_cast<std::size_t>(ask.ranks_per_node); };
  for (std::size_t from = 0; from < n; ++from) {
    for (std::size_t e = 0; e < ranks_of.size(); ++e) {
      TW_CHECK(!ranks_of[e].empty());
      std::size_t near = 0;
      for (const std::size_t to : ranks_of[e]) near += policy.own_node && node(to) == node(from);
      for (const std::size_t to : ranks_of[e]) {
        if (near > 0 && node(to) != node(from)) continue;
        const double part = ask.load[e] / static_cast<double>(near > 0 ? near : ranks_of[e].size());
        out.to[from * n + to] += part, out.rows[to] += part;
      }
    }
  }
  return out;
}

}  // namespace

std::vector<LayerSkew> skew_of(const Model& model, std::int32_t ep, std::int32_t ranks_per_node,
                               const SkewAsk& ask) {
  const PlacementPolicy& policy = policy_of(ask);
  const auto shares = expert_shares(model, "--load", ask.load, ask.step, ask.seed);
  std::vector<LayerSkew> out(shares.size());
  for (std::size_t i = 0; i < shares.size(); ++i) {
    if (shares[i].empty()) continue;
    const auto experts = static_cast<std::int32_t>(shares[i].size());
    if (ask.replicas > experts - experts / ep)
      throw InputError(
          "command line", "--replicas",
          fmt::format("{}: a rank holds {} of {} experts already", ask.replicas, experts / ep, experts));
    out[i] = layer_skew(policy, {shares[i], ep, ranks_per_node, experts / ep + ask.replicas});
  }
  return out;
}

}  // namespace tw
