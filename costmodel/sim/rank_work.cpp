#include "costmodel/sim/rank_work.hpp"

#include <algorithm>
#include <cmath>
#include <set>

namespace tw {
namespace {

Cluster with_faults(const Cluster& cluster, const std::vector<Fault>& faults) {
  Cluster out = cluster;
  out.faults.value.insert(out.faults.value.end(), faults.begin(), faults.end());
  return resized(out, cluster.gpus);
}

// What of the faults a rank meets.
struct Met {
  std::set<std::int32_t> lost;           // NICs of its node
  double nic = 0, uplink = 0, port = 0;  // part of their rate that is lost
  bool any() const { return !lost.empty() || nic > 0 || uplink > 0 || port > 0; }
  friend bool operator==(const Met&, const Met&) = default;
};
Met met_by(const Cluster& cluster, const Place& place, std::int32_t rank, const std::vector<Fault>& faults) {
  Met out;
  for (const Fault& f : faults) {
    const double share = *f.share;
    const bool home = f.node == place.node;
    if (f.kind == FaultKind::nic && home && share >= 1) out.lost.insert(f.index);
    if (f.kind == FaultKind::nic && home && share < 1 && place.nic % cluster.node.nics == f.index)
      out.nic = std::max(out.nic, share);
    if (f.kind == FaultKind::leaf_uplink && f.node * cluster.leaves_per_pod() + f.index == place.leaf)
      out.uplink = std::max(out.uplink, share);
    if (f.kind == FaultKind::nvswitch && home && rank % cluster.gpus_per_node() == f.index)
      out.port = std::max(out.port, share);
  }
  return out;
}

// Faults that make all links like those of who meets these.
std::vector<Fault> faults_like(const Cluster& cluster, const Met& met) {
  std::vector<Fault> out;
  for (std::int32_t node = 0; node < cluster.nodes(); ++node) {
    for (std::int32_t nic = 0; nic < cluster.node.nics; ++nic) {
      const double share = met.lost.count(nic) > 0 ? 1 : met.nic;
      if (share > 0) out.push_back({FaultKind::nic, node, nic, share});
    }
    for (std::int32_t gpu = 0; met.port > 0 && gpu < cluster.gpus_per_node(); ++gpu)
      out.push_back({FaultKind::nvswitch, node, gpu, met.port});
  }
  for (std::int32_t pod = 0; met.uplink > 0 && pod < cluster.pods(); ++pod) {
    for (std::int32_t leaf = 0; leaf < cluster.leaves_per_pod(); ++leaf)
      out.push_back({FaultKind::leaf_uplink, pod, leaf, met.uplink});
  }
  return out;
}

}  // namespace

FaultyMachine::FaultyMachine(const Program& program, const StepContext& context, const Routing& routing,
                             const std::vector<Fault>& faults)
    : cluster_(with_faults(*context.machine.cluster, faults)),
      fabric_(cluster_),
      evaluator_(context.job, {&cluster_, &fabric_, context.machine.calibration, context.machine.profile},
                 {Bytes{}, routing}),
      chain_(evaluator_.chain(program.input().layout)) {
  prices_.emplace(program, evaluator_.context(), chain_, routing);
}

RankWork::RankWork(const Input& in, StepPrices& healthy) : in_(in), healthy_(healthy) {
  if (!differs()) return;
  std::vector<Met> known;
  const Cluster& cluster = *in.context.machine.cluster;
  const std::vector<Place> places = places_of(cluster, in.program.grid().ranks());
  for (const Rank rank : in.players.rank) {
    const Place& place = places[static_cast<std::size_t>(rank.value())];
    const Met met = met_by(cluster, place, rank.value(), in.faults);
    const auto found = std::find(known.begin(), known.end(), met);
    links_of_.push_back(static_cast<std::size_t>(found - known.begin()));
    if (found != known.end()) continue;
    known.push_back(met);
    Links& links = links_.emplace_back();
    if (met.any())
      links.machine =
          std::make_unique<FaultyMachine>(in.program, in.context, in.routing, faults_like(cluster, met));
    links.prices = links.machine ? &links.machine->prices() : &healthy;
    if (!in.skew.empty())
      links.skewed.emplace(in.program, cluster, in.players, in.kinds, in.skew, links.prices->routed);
  }
}

SimTime RankWork::operator()(const SimOp& op, std::int32_t player) {
  Links& links = links_[links_of_[static_cast<std::size_t>(player)]];
  if (op.routed && links.skewed) return (*links.skewed)(op, player);
  if (!links.machine || op.step < 0 || (op.groups.empty() && op.to < 0)) return op.work;
  return std::llround(static_cast<double>(op.work) * slower(op, player, *links.prices));
}

// How much longer the operation takes on these links.
double RankWork::slower(const SimOp& op, std::int32_t player, StepPrices& prices) {
  const std::int32_t stage = in_.players.stage[static_cast<std::size_t>(player)];
  const Step& step = in_.program.steps(stage)[static_cast<std::size_t>(op.step)];
  const auto of = [&](StepPrices& p) {
    return op.pieces > 1 ? p.routed.seconds(step, stage, 1.0 / op.pieces) : p.plain.of(step, stage).seconds;
  };
  const double healthy = of(healthy_);
  return healthy > 0 ? of(prices) / healthy : 1;
}

}  // namespace tw
