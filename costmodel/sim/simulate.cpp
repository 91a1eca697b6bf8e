#include "costmodel/sim/simulate.hpp"

#include <cstring>
#include <optional>

#include "costmodel/program/routing.hpp"
#include "costmodel/program/view.hpp"

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

// What an exchange carries, as its operation or its states say.
class Cargo {
 public:
  Cargo(const Program& program, const StepContext& context)
      : program_(program), context_(context), layout_(program.input().layout) {}

  Carried of(const Step& step, std::int32_t stage) const {
    switch (step.action) {
      case Action::op:
        return of(op_of(step, program_.units(stage)));
      case Action::send:
        return {boundary()};
      case Action::gather:
        return {states(step, stage, state().gather)};
      case Action::reduce:
        return {states(step, stage, state().reduce),
                layout_.zero == 0 ? Traffic::twice_round : Traffic::round};
      case Action::sum_copies:
        return {states(step, stage, state().reduce), Traffic::twice_round};
      default:
        return {};
    }
  }

 private:
  const StateMechanisms& state() const { return state_of(*context_.machine.profile, layout_.zero); }
  static Carried of(const Op& op) {
    if (const auto* c = std::get_if<CollectiveWork>(&op.work)) {
      const bool sum = c->kind == Collective::all_reduce, all = c->kind == Collective::all_to_all;
      const auto bytes = static_cast<std::int64_t>(op.share * op.wire * c->bytes.to_double());
      return {bytes, sum ? Traffic::twice_round : all ? Traffic::pairs : Traffic::round};
    }
    if (const auto* d = std::get_if<DispatchWork>(&op.work)) return {d->bytes.count, Traffic::pairs};
    const auto* r = std::get_if<RingWork>(&op.work);
    return r ? Carried{r->bytes.count * r->hops} : Carried{};
  }
  std::int64_t states(const Step& step, std::int32_t stage, DType type) const {
    const LocalElements local =
        local_elements(*program_.units(stage)[static_cast<std::size_t>(step.unit)].work);
    return (local.attention + local.expert) * size_of(type);
  }
  // As the closed form prices a hop.
  std::int64_t boundary() const {
    const bool whole = state().sends_whole && !layout_.sp;
    const std::int64_t tokens =
        std::int64_t{layout_.mb} * context_.job.seq / layout_.cp / (whole ? 1 : layout_.tp);
    return tokens * context_.job.model->hidden * size_of(DType::bf16);
  }

  const Program& program_;
  const StepContext& context_;
  const Layout& layout_;
};

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
  const SimPrices prices = framework_prices(*out.program, context, chain);
  SimGroups groups(*out.program, SimRules::framework);
  CodeInput code{out.program.get(),
                 SimRules::framework,
                 &prices,
                 [&](const Step& step, std::int32_t stage) { return groups.of(step, stage); },
                 {}};
  const Cargo cargo(*out.program, context);
  if (settings.contention || settings.timeline)
    code.carried = [&](const Step& step, std::int32_t stage) { return cargo.of(step, stage); };
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
