// The work of a rank where experts are unequal: its rows at their price, and of an exchange what it sends and
// receives by the layer's matrix. A group's exchange takes as long as its busiest member.
#pragma once

#include <map>

#include "costmodel/sim/links.hpp"
#include "costmodel/sim/routed_prices.hpp"
#include "costmodel/skew.hpp"

namespace tw {

class SkewedWork {
 public:
  SkewedWork(const Program& program, const Cluster& cluster, const Players& players,
             std::span<const SimGroupKind> kinds, const std::vector<LayerSkew>& skew, RoutedPrices& prices);
  SimTime operator()(const SimOp& op, std::int32_t player);

 private:
  double seconds(const SimOp& op, const Step& step, std::int32_t stage, Rank rank);
  TierBytes sent_by(const SimOp& op, Rank rank);

  const Program& program_;
  const Players& players_;
  std::span<const SimGroupKind> kinds_;
  const std::vector<LayerSkew>& skew_;
  RoutedPrices& prices_;
  std::vector<Place> places_;
  std::map<std::tuple<std::int32_t, std::int32_t, bool, std::int16_t, std::int32_t>, SimTime> known_;
  std::map<std::pair<std::int32_t, Cargo>, std::vector<RankTraffic>> traffic_;  // by group of ep
};

// By rank: which of ep it is, where that makes a difference.
std::vector<std::int64_t> ep_colours(const Program& program);

}  // namespace tw
