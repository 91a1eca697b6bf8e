// The work of each rank's operations where ranks differ: in their links, as the closed form prices the step
// where the links of all ranks are like its own (nobody knows of a slow link and goes around it; a lost NIC's
// ranks use the others of their node); in their experts' rows (skewed.hpp). The slowest of a group sets its
// pace.
#pragma once

#include <memory>
#include <optional>

#include "costmodel/sim/simulate.hpp"
#include "costmodel/sim/skewed.hpp"

namespace tw {

// A step's prices on one state of the cluster.
struct StepPrices {
  StepPrices(const Program& program, const StepContext& context, const Chain& chain, const Routing& routing)
      : plain(framework_prices(program, context, chain)), routed(program, context, chain, routing, plain) {}
  SimPrices plain;
  RoutedPrices routed;
};

// The same machine with more faults; it prices a layout anew. InputError where they cut a node off.
class FaultyMachine {
 public:
  FaultyMachine(const Program& program, const StepContext& context, const Routing& routing,
                const std::vector<Fault>& faults);
  FaultyMachine(const FaultyMachine&) = delete;
  FaultyMachine& operator=(const FaultyMachine&) = delete;
  StepPrices& prices() { return *prices_; }

 private:
  Cluster cluster_;
  Fabric fabric_;
  Evaluator evaluator_;
  Chain chain_;
  std::optional<StepPrices> prices_;
};

class RankWork {
 public:
  struct Input {
    const Program& program;
    const StepContext& context;
    const Routing& routing;
    const Players& players;
    std::span<const SimGroupKind> kinds;
    const std::vector<LayerSkew>& skew;  // empty: experts are equal
    const std::vector<Fault>& faults;
  };
  RankWork(const Input& in, StepPrices& healthy);
  // Whether ranks differ at all.
  bool differs() const { return !in_.skew.empty() || !in_.faults.empty(); }
  SimTime operator()(const SimOp& op, std::int32_t player);

 private:
  // Of ranks with like links.
  struct Links {
    std::unique_ptr<FaultyMachine> machine;  // none: whole
    StepPrices* prices = nullptr;
    std::optional<SkewedWork> skewed;
  };
  double slower(const SimOp& op, std::int32_t player, StepPrices& prices);

  Input in_;
  StepPrices& healthy_;
  std::vector<Links> links_;
  std::vector<std::size_t> links_of_;  // by player
};

}  // namespace tw
