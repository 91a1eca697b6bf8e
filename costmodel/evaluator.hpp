// Layout in, Cost out: the chain PassCost -> StateCost -> Step with its caches. One evaluator per
// (model, batch, cluster, calibration, profile); it is not shared between threads.
#pragma once

#include <limits>
#include <memory>

#include "costmodel/step.hpp"

namespace tw {

struct EvaluatorSettings {
  Bytes headroom;  // of device memory left free
  Routing routing;
  std::size_t most_passes = 512;  // cached before the cache starts anew
};

// Passes by key and links. Evaluators of one job on several numbers of GPUs may share one, if one model, one
// profile and one calibration are behind all of them.
class PassStore;
std::shared_ptr<PassStore> pass_store();

class Evaluator {
 public:
  Evaluator(const Job& job, const Machine& machine, const EvaluatorSettings& settings,
            std::shared_ptr<PassStore> passes = pass_store());
  ~Evaluator();
  Evaluator(Evaluator&&) noexcept;

  // The layout must be legal for the job.
  Cost cost(const Layout& layout);
  Cost cost(const Layout& layout, std::vector<StageDetail>& stages);
  // Memory before time: where the layout does not fit, its time stays zero; else, where it is surely slower
  // than `at_most` seconds, its time is infinite.
  Cost cost_if_fits(const Layout& layout, double at_most = std::numeric_limits<double>::infinity());
  const StepContext& context() const;
  // The cached links, for op lists and explanations. Unpriced links know bytes alone.
  Chain chain(const Layout& layout, bool priced = true);

 private:
  struct Cache;
  std::unique_ptr<Cache> cache_;
};

}  // namespace tw
