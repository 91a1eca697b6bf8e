#include "costmodel/sim/skewed.hpp"

#include <algorithm>

#include "costmodel/program/view.hpp"

namespace tw {

SkewedWork::SkewedWork(const Program& program, const Cluster& cluster, const Players& players,
                       std::span<const SimGroupKind> kinds, const std::vector<LayerSkew>& skew,
                       RoutedPrices& prices)
    : program_(program),
      players_(players),
      kinds_(kinds),
      skew_(skew),
      prices_(prices),
      places_(places_of(cluster, program.grid().ranks())) {}

SimTime SkewedWork::operator()(const SimOp& op, std::int32_t player) {
  const auto p = static_cast<std::size_t>(player);
  const std::int32_t stage = players_.stage[p];
  const Step& step = program_.steps(stage)[static_cast<std::size_t>(op.step)];
  const auto [found, made] =
      known_.try_emplace({stage, step.unit, step.backward, step.op, players_.rank[p].value()}, SimTime{0});
  if (made) found->second = ticks(seconds(op, step, stage, players_.rank[p]));
  return found->second;
}

double SkewedWork::seconds(const SimOp& op, const Step& step, std::int32_t stage, Rank rank) {
  const std::span<const Unit> units = program_.units(stage);
  if (std::holds_alternative<DispatchWork>(op_of(step, units).work))
    return prices_.exchange_seconds(step, stage, sent_by(op, rank));
  const LayerSkew& layer = skew_[static_cast<std::size_t>(units[static_cast<std::size_t>(step.unit)].layer)];
  const auto ep = static_cast<std::size_t>(program_.grid().coordinate(rank, Dim::ep));
  return prices_.seconds(step, stage, layer.rows[ep] / op.pieces);
}

TierBytes SkewedWork::sent_by(const SimOp& op, Rank rank) {
  const SimGroupKind& kind = kinds_[static_cast<std::size_t>(op.groups.back())];
  const std::int32_t group = kind.of_rank[static_cast<std::size_t>(rank.value())];
  const std::span<const Rank> members = kind.at(group);
  const Cargo& cargo = op.cargo->back();
  const auto [known, made] = traffic_.try_emplace({group, cargo});
  if (made) {
    std::vector<Place> places;
    for (const Rank member : members) places.push_back(places_[static_cast<std::size_t>(member.value())]);
    known->second = traffic_of(cargo, places, skew_[static_cast<std::size_t>(cargo.matrix)].to);
  }
  const auto mine = std::find(members.begin(), members.end(), rank) - members.begin();
  const RankTraffic& t = known->second[static_cast<std::size_t>(mine)];
  return {std::max(t.inside.out, t.inside.in), std::max(t.outside.out, t.outside.in)};
}

std::vector<std::int64_t> ep_colours(const Program& program) {
  std::vector<std::int64_t> out;
  for (std::int32_t rank = 0; rank < program.grid().ranks(); ++rank)
    out.push_back(program.grid().coordinate(Rank(rank), Dim::ep));
  return out;
}

}  // namespace tw
