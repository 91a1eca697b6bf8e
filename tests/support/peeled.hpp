// The closed form and the simulator side by side, with one mechanism after another taken out of both: where
// they differ, the first without which they agree is what the closed form sums up and the simulator plays.
#pragma once

#include <cmath>

#include "costmodel/sim/simulate.hpp"
#include "tests/support/problems.hpp"

namespace tw {

// States that nothing gathers or reduces.
inline StateCost at_rest(StateCost state, const PassCost& pass) {
  const auto rest = [](KindState& kind, const KindPass& of) {
    kind.f = of.f, kind.b = of.b;
    kind.first_extra = kind.last_extra = kind.gather = kind.reduce = kind.copies_f = kind.copies_b = 0;
  };
  for (std::size_t k = 0; k < state.kinds.size(); ++k) rest(state.kinds[k], pass.kinds[k]);
  rest(state.embedding, pass.embedding), rest(state.head, pass.head), rest(state.tied_head, pass.head);
  rest(state.mtp_entry, pass.mtp_entry), rest(state.mtp_head, pass.head);
  return state;
}

// Simulated over closed, less one.
inline double apart(const StepContext& context, const Chain& chain, const Routing& routing) {
  return simulate(context, chain, routing, {}).seconds / step_cost(context, chain).step_seconds - 1;
}

// With the slots of the schedule in place of its formula, and states at rest.
inline double apart_at_rest(const StepContext& context, const Chain& chain, const Routing& routing) {
  Chain still = chain;
  const StateCost state = at_rest(*chain.state, *chain.pass);
  StateCost plain;
  still.state = &state;
  if (chain.plain) plain = at_rest(*chain.plain_state, *chain.plain), still.plain_state = &plain;
  const PipeDetail times = pipe_detail(context, still);
  const Layout& l = *chain.layout;
  const Schedule& schedule = schedule_at(l.schedule);
  const PipeShape shape{l.pp, l.vpp, times.microbatches};
  const PipeTimes pipe{times.chunks, times.send};
  const double slots = play(schedule, shape, pipe).seconds - schedule.makespan(shape, pipe).seconds;
  const double closed = step_cost(context, still).step_seconds + slots;
  return simulate(context, still, routing, {}).seconds / closed - 1;
}

// The same question where exchanges and compute cost each other nothing, and where also the host does not.
struct Peeled {
  Inputs inputs, free, bare;
  Problem problem, free_problem, bare_problem;
  Evaluator evaluator, free_evaluator, bare_evaluator;

  explicit Peeled(const Inputs& in)
      : inputs(in),
        free(without_interference(in)),
        bare(without_host(free)),
        problem(inputs, in.cluster.gpus),
        free_problem(free, in.cluster.gpus),
        bare_problem(bare, in.cluster.gpus),
        evaluator(problem.job, problem.machine, in.settings),
        free_evaluator(free_problem.job, free_problem.machine, in.settings),
        bare_evaluator(bare_problem.job, bare_problem.machine, in.settings) {}
  Peeled(const Peeled&) = delete;

  static Inputs without_interference(Inputs in) {
    in.calibration = in.calibration.without_interference();
    return in;
  }
  static Inputs without_host(Inputs in) {
    in.profile.host = HostMechanisms{};
    in.profile.host.graphs = true;
    return in;
  }
};

}  // namespace tw
