// A layout's step, played: the Program of the layout with the operations and prices of the closed form's
// chain. What the simulator has no play of is said: the mean effect of the slowest of all GPUs is the closed
// form's.
#pragma once

#include <memory>

#include "costmodel/evaluator.hpp"
#include "costmodel/sim/links.hpp"
#include "costmodel/skew.hpp"

namespace tw {

struct SimSettings {
  bool contention = false;   // exchanges share the links of the topology
  bool unfold = false;       // every rank plays itself
  std::vector<double> slow;  // by rank, of its compute; empty: none
  double jitter = 0;         // relative standard deviation of each computation's time
  std::uint64_t seed = 1;
  std::int32_t pieces = 1;    // of routed tokens: a piece travels while the experts work on the one before
  SkewAsk skew;               // of experts; the chain's routing must be balanced where they are not
  std::vector<Fault> faults;  // of links, beside those of the cluster
  bool timeline = false;
  SimPeers* peers = nullptr;  // of several processes the first has the whole run, the others their part
};

struct SimulatedStep {
  double seconds = 0;  // of the step: played, and stragglers
  double played = 0, stragglers = 0;
  RunResult run;
  std::unique_ptr<Program> program;
  std::vector<StageCode> code;
  std::vector<SimGroupKind> kinds;
  Players players;
  std::vector<SimLink> links;  // with contention: those that the players send through
};

// InputError where the layout is not legal.
SimulatedStep simulate(Evaluator& evaluator, const Layout& layout, const Routing& routing,
                       const SimSettings& settings);
SimulatedStep simulate(const StepContext& context, const Chain& chain, const Routing& routing,
                       const SimSettings& settings);

// The Program's steps at the chain's prices, which must outlive them.
SimPrices framework_prices(const Program& program, const StepContext& context, const Chain& chain);

}  // namespace tw
