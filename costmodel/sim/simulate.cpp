#include "costmodel/sim/simulate.hpp"

#include <cstring>
#include <map>
#include <optional>

#include "costmodel/program/routing.hpp"
#include "costmodel/sim/cargo.hpp"
#include "costmodel/sim/division.hpp"
#include "costmodel/sim/rank_work.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

std::vector<std::int64_t> slow_colours(const SimSettings& settings) {
  std::vector<std::int64_t> out;
  for (const double slow : settings.slow) {
    std::int64_t bits = 0;
    std::memcpy(&bits, &slow, sizeof bits);
    out.push_back(bits);
  }
  return out;
}

std::vector<std::int64_t> numbered(const std::vector<std::vector<double>>& keys) {
  std::map<std::vector<double>, std::int64_t> known;
  std::vector<std::int64_t> out;
  for (const std::vector<double>& key : keys)
    out.push_back(known.try_emplace(key, static_cast<std::int64_t>(known.size())).first->second);
  return out;
}

// What makes ranks different from the start: one number for each combination.
std::vector<std::int64_t> combined(const std::vector<std::vector<std::int64_t>>& all) {
  std::vector<std::int64_t> out;
  std::map<std::vector<std::int64_t>, std::int64_t> known;
  for (std::size_t rank = 0;; ++rank) {
    std::vector<std::int64_t> key;
    for (const auto& each : all)
      if (rank < each.size()) key.push_back(each[rank]);
    if (key.empty()) return out;
    out.push_back(known.try_emplace(key, static_cast<std::int64_t>(known.size())).first->second);
  }
}

std::vector<LayerSkew> skew_of(const StepContext& context, const Chain& chain, const SimSettings& settings) {
  if (settings.skew == SkewAsk{}) return {};
  const GroupLinks& ep = chain.pass->links.ep;
  return skew_of(*context.job.model, chain.layout->ep, ep.ranks_per_node, settings.skew);
}

// What joins all ranks at every moment cannot be divided.
void refuse_undivided(const SimSettings& settings, const std::vector<StageCode>& code) {
  if (settings.contention)
    throw InputError("command line", "mpirun",
                     "shared links join all ranks at every moment: give --no-contention, or one process");
  for (const StageCode& stage : code) {
    for (const SimOp& op : stage.lanes[static_cast<std::size_t>(Lane::compute)]) {
      if (op.yields < kFull)
        throw InputError(
            "command line", "mpirun",
            "products of this calibration (gemm_yields) hold back exchanges of all their ranks: one "
            "process plays that");
    }
  }
}

}  // namespace

SimulatedStep simulate(Evaluator& evaluator, const Layout& layout, const Routing& routing,
                       const SimSettings& settings) {
  return simulate(evaluator.context(), evaluator.chain(layout), routing, settings);
}

SimulatedStep simulate(const StepContext& context, const Chain& chain, const Routing& routing,
                       const SimSettings& settings) {
  const Layout& layout = *chain.layout;
  ProgramInput input{*context.job.model,
                     *context.machine.profile,
                     layout,
                     context.job,
                     for_ranks(routing, context.job.model->moe(), layout.ep),
                     false};
  SimulatedStep out;
  out.program = std::make_unique<Program>(std::move(input));
  StepPrices healthy(*out.program, context, chain, routing);
  SimPrices prices = healthy.plain;
  Cluster cluster = *context.machine.cluster;
  if (!settings.faults.empty()) {
    cluster.faults.value.insert(cluster.faults.value.end(), settings.faults.begin(), settings.faults.end());
    cluster = resized(cluster, cluster.gpus);
  }
  const std::vector<LayerSkew> skew = skew_of(context, chain, settings);
  std::vector<SendMatrix> matrices;
  for (const LayerSkew& layer : skew) matrices.push_back(layer.to);
  if (settings.pieces > 1 || !skew.empty()) {
    prices.routed = [&](const Step& step, std::int32_t stage) { return healthy.routed.routed(step, stage); };
    prices.piece = [&](const Step& step, std::int32_t stage, std::int32_t pieces) {
      return healthy.routed.seconds(step, stage, 1.0 / pieces);
    };
  }
  SimGroups groups(*out.program, SimRules::framework);
  CodeInput code{out.program.get(),
                 SimRules::framework,
                 &prices,
                 [&](const Step& step, std::int32_t stage) { return groups.of(step, stage); },
                 {},
                 settings.pieces};
  if (settings.contention || settings.timeline || !skew.empty())
    code.carried = cargo_of(*out.program, groups, context, !skew.empty());
  out.code = sim_code(code);
  const bool unfold = settings.unfold || settings.jitter > 0;
  out.kinds = groups.kinds();
  std::optional<SimLinks> links;
  if (settings.contention) links.emplace(cluster, *out.program, out.kinds, matrices);
  const std::int32_t ranks = out.program->grid().ranks();
  out.players = players_of(*out.program, groups,
                           combined({slow_colours(settings), numbered(link_rates(cluster, ranks)),
                                     skew.empty() ? std::vector<std::int64_t>{} : ep_colours(*out.program)}),
                           links ? links->neighbours() : Neighbours{}, unfold);
  RunInput run;
  run.code = out.code, run.players = &out.players;
  for (const Rank rank : out.players.rank)
    run.slow.push_back(settings.slow.empty() ? 1 : settings.slow[static_cast<std::size_t>(rank.value())]);
  run.jitter = settings.jitter, run.seed = settings.seed, run.timeline = settings.timeline;
  RankWork of_rank({*out.program, context, routing, out.players, out.kinds, skew, settings.faults}, healthy);
  if (of_rank.differs()) run.work = [&](const SimOp& op, std::int32_t player) { return of_rank(op, player); };
  if (links) {
    links->play(out.players);
    run.links = links->links().size();
    run.shares = [&](const SimOp& op, std::int32_t player, std::int32_t kind,
                     SimTime work) -> const LinkShares& { return links->shares(op, player, kind, work); };
  }
  std::optional<Division> division;
  Players own;
  if (settings.peers && settings.peers->count > 1) {
    refuse_undivided(settings, out.code);
    division = divided(out.players, out.kinds, settings.peers->count);
    own = players_of_part(out.players, *division, settings.peers->self);
    run.players = &own, run.everyone = &out.players, run.division = &*division, run.peers = settings.peers;
  }
  out.run = run_simulation(run);
  if (links) out.links = links->links();
  out.played = seconds(out.run.end);
  out.stragglers = double{step_cost(context, chain).terms[Term::stragglers]};
  out.seconds = out.played + out.stragglers;
  return out;
}

}  // namespace tw
