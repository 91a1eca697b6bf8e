#include "costmodel/sim/simulate.hpp"

#include <cstring>
#include <optional>

#include "costmodel/program/routing.hpp"
#include "costmodel/sim/cargo.hpp"
#include "costmodel/sim/routed_prices.hpp"

namespace tw {
namespace {

std::vector<std::int64_t> colours_of(const SimSettings& settings) {
  std::vector<std::int64_t> out;
  for (const double slow : settings.slow) {
    std::int64_t bits = 0;
    std::memcpy(&bits, &slow, sizeof bits);
    out.push_back(bits);
  }
  return out;
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
  SimPrices prices = framework_prices(*out.program, context, chain);
  RoutedPrices routed(*out.program, context, chain, routing, prices);
  if (settings.pieces > 1) {
    prices.routed = [&](const Step& step, std::int32_t stage) { return routed.routed(step, stage); };
    prices.piece = [&](const Step& step, std::int32_t stage, std::int32_t pieces) {
      return routed.seconds(step, stage, 1.0 / pieces);
    };
  }
  SimGroups groups(*out.program, SimRules::framework);
  CodeInput code{out.program.get(),
                 SimRules::framework,
                 &prices,
                 [&](const Step& step, std::int32_t stage) { return groups.of(step, stage); },
                 {},
                 settings.pieces};
  if (settings.contention || settings.timeline) code.carried = cargo_of(*out.program, groups, context);
  out.code = sim_code(code);
  const bool unfold = settings.unfold || settings.jitter > 0;
  out.kinds = groups.kinds();
  std::optional<SimLinks> links;
  if (settings.contention) links.emplace(*context.machine.cluster, *out.program, out.kinds);
  out.players = players_of(*out.program, groups, colours_of(settings),
                           links ? links->neighbours() : Neighbours{}, unfold);
  RunInput run;
  run.code = out.code, run.players = &out.players;
  for (const Rank rank : out.players.rank)
    run.slow.push_back(settings.slow.empty() ? 1 : settings.slow[static_cast<std::size_t>(rank.value())]);
  run.jitter = settings.jitter, run.seed = settings.seed, run.timeline = settings.timeline;
  if (links) {
    links->play(out.players);
    run.links = links->links().size();
    run.shares = [&](const SimOp& op, std::int32_t player, std::int32_t kind) -> const LinkShares& {
      return links->shares(op, player, kind);
    };
  }
  out.run = run_simulation(run);
  if (links) out.links = links->links();
  out.played = seconds(out.run.end);
  out.stragglers = double{step_cost(context, chain).terms[Term::stragglers]};
  out.seconds = out.played + out.stragglers;
  return out;
}

}  // namespace tw
