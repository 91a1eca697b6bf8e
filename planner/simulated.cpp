#include "planner/simulated.hpp"

#include <algorithm>

#include "costmodel/sim/memory.hpp"

namespace tw {
namespace {

std::vector<SimTerm> terms_of(const PlayerTimes& times) {
  std::vector<SimTerm> out;
  for (std::size_t i = 0; i < times.terms.size(); ++i) {
    const auto term = static_cast<Term>(i);
    if (times.terms[i] > 0)
      out.push_back({std::string(name_of(term)), std::string(help_of(term)), seconds(times.terms[i])});
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const SimTerm& a, const SimTerm& b) { return a.seconds > b.seconds; });
  return out;
}

// One rank of each stage, the first.
std::vector<SimMemory> memory_of(const SimulatedStep& step, const StepContext& context, const Chain& chain) {
  std::vector<SimMemory> out;
  for (std::size_t p = 0; p < step.players.size(); ++p) {
    const std::int32_t stage = step.players.stage[p];
    if (std::any_of(out.begin(), out.end(), [&](const SimMemory& m) { return m.stage == stage; })) continue;
    const MemoryOverTime memory = memory_over_time(step, context, chain, static_cast<std::int32_t>(p));
    SimMemory one{step.players.rank[p].value(), stage, memory.peak.bytes, seconds(memory.peak.at), {}};
    for (const MemoryOwner& owner : memory.owners) one.owners.emplace_back(owner.name, owner.bytes);
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace

SimResult sim_result(const Problem& problem, Evaluator& evaluator, const Layout& layout,
                     const SimSettings& settings, const SimulatedStep& step) {
  const Cost cost = evaluator.cost(layout);
  SimResult out;
  out.question = question_of(problem), out.layout = layout;
  out.fits = cost.fits, out.closed_seconds = cost.step_seconds;
  out.contention = settings.contention, out.unfolded = settings.unfold || settings.jitter > 0;
  out.step_seconds = step.seconds, out.played_seconds = step.played, out.straggler_seconds = step.stragglers;
  out.ranks = layout.gpus(), out.players = static_cast<std::int32_t>(step.players.size());
  out.events = step.run.events, out.operations = step.run.operations,
  out.listed = step.run.program_operations;
  out.bytes_per_operation = static_cast<std::int64_t>(sizeof(SimOp));
  out.bytes_per_rank = step.run.bytes_per_player;
  std::size_t last = 0;
  for (std::size_t p = 0; p < step.players.size(); ++p)
    if (step.run.players[p].end > step.run.players[last].end) last = p;
  out.last_rank = step.players.rank[last].value(), out.terms = terms_of(step.run.players[last]);
  for (std::size_t l = 0; l < step.links.size(); ++l)
    out.links.push_back({step.links[l].name, step.run.links[l].busy / step.played});
  std::stable_sort(out.links.begin(), out.links.end(),
                   [](const SimLinkUse& a, const SimLinkUse& b) { return a.busy > b.busy; });
  if (settings.timeline) out.memory = memory_of(step, evaluator.context(), evaluator.chain(layout));
  return out;
}

}  // namespace tw
