#include "planner/size/phase.hpp"

#include <algorithm>

#include "costmodel/layout/legality.hpp"
#include "planner/space.hpp"

namespace tw {
namespace {

// With adapters: those of the layers, as one rank alone would hold them.
std::int64_t trained_weights(const Problem& problem, Evaluator& evaluator) {
  const ParameterCount all = count_parameters(problem.inputs.model);
  if (!adapts(problem.job.training)) return all.total + all.mtp;
  const Layout alone{};
  const PassCost& pass = *evaluator.chain(alone, false).pass;
  const KindCounts& layers = evaluator.context().before.back();
  std::int64_t sum = 0;
  for (std::size_t k = 0; k < pass.kinds.size(); ++k)
    sum += layers[k] * (pass.kinds[k].weights.attention + pass.kinds[k].weights.expert);
  return sum;
}

void add(Searched& sum, const Searched& one) {
  sum.legal += one.legal, sum.evaluated += one.evaluated;
  sum.refused_by_memory += one.refused_by_memory, sum.pruned_by_bound += one.pruned_by_bound;
  sum.seconds += one.seconds, sum.proven = one.proven;
}

class PhasePlanner {
 public:
  PhasePlanner(const Inputs& inputs, const JobPhase& phase, std::int32_t gpus, const std::string& fixed,
               const ProgressReport& report)
      : inputs_(inputs), phase_(phase), gpus_(gpus), fixed_(fixed), report_(report) {}

  PlannedPhase run() {
    inputs_.seq = phase_.seq, inputs_.training = phase_.training;
    for (std::size_t i = phase_.batches.size(); i-- > 0;) {
      if (add_part(phase_.batches[i])) continue;
      out_.parts.clear();
      break;
    }
    std::reverse(out_.parts.begin(), out_.parts.end());
    return std::move(out_);
  }

 private:
  // False where no layout fits.
  bool add_part(std::int64_t batch) {
    inputs_.global_batch = batch;
    const Problem problem(inputs_, gpus_);
    Evaluator evaluator(problem.job, problem.machine, inputs_.settings);
    out_.limit = evaluator.context().limit;
    if (!out_.parts.empty()) {
      const Layout& last = out_.parts.front().best.layout;
      if (is_legal(last, problem.job) && evaluator.cost(last).fits) return keep(problem, evaluator, last);
    }
    const SearchResult found = search(problem, space_of(problem, fixed_), {.top = 1, .quick = true}, report_);
    add(out_.searched, found.searched);
    if (!found.best.empty()) return keep(problem, evaluator, found.best.front().layout);
    out_.near_misses = found.near_misses, out_.nothing_legal = found.nothing_legal;
    return false;
  }

  bool keep(const Problem& problem, Evaluator& evaluator, const Layout& layout) {
    out_.parts.push_back({predict(evaluator, layout), checkpoint_bytes(problem, evaluator)});
    return true;
  }

  Inputs inputs_;  // of this phase
  const JobPhase& phase_;
  std::int32_t gpus_;
  const std::string& fixed_;
  const ProgressReport& report_;
  PlannedPhase out_;
};

}  // namespace

PlannedPhase plan_phase(const Inputs& inputs, const JobPhase& phase, std::int32_t gpus,
                        const std::string& fixed, const ProgressReport& report) {
  return PhasePlanner(inputs, phase, gpus, fixed, report).run();
}

Bytes checkpoint_bytes(const Problem& problem, Evaluator& evaluator) {
  const StateMechanisms& state = problem.inputs.profile.state;
  return Bytes(size_of(state.master) + 2 * size_of(state.moments)) * trained_weights(problem, evaluator);
}

}  // namespace tw
