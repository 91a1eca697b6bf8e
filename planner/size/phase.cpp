#include "planner/size/phase.hpp"

#include <algorithm>
#include <memory>
#include <optional>

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

// One number of GPUs. Its machine changes with the batch of the part at hand.
class CountPlanner {
 public:
  CountPlanner(const Inputs& inputs, const JobPhase& phase, std::int32_t gpus) : inputs_(inputs), gpus_(gpus) {
    inputs_.seq = phase.seq, inputs_.training = phase.training;
  }

  // Parts come last to first. True where the part after this one does not give the layout.
  bool needs_search(std::int64_t batch) {
    if (failed_) return false;
    inputs_.global_batch = batch;
    evaluator_.reset();
    problem_.emplace(inputs_, gpus_);
    evaluator_.emplace(problem_->job, problem_->machine, inputs_.settings);
    out_.limit = evaluator_->context().limit;
    if (out_.parts.empty()) return true;
    const Layout last = out_.parts.back().best.layout;
    if (!is_legal(last, problem_->job) || !evaluator_->cost(last).fits) return true;
    keep(last);
    return false;
  }
  const Problem& problem() const { return *problem_; }
  void take(const SearchResult& found) {
    add(out_.searched, found.searched);
    if (!found.best.empty()) return keep(found.best.front().layout);
    failed_ = true;
    out_.near_misses = found.near_misses, out_.nothing_legal = found.nothing_legal;
  }
  PlannedPhase result() {
    if (failed_) out_.parts.clear();
    std::reverse(out_.parts.begin(), out_.parts.end());
    return std::move(out_);
  }

 private:
  void keep(const Layout& layout) {
    out_.parts.push_back({predict(*evaluator_, layout), checkpoint_bytes(*problem_, *evaluator_)});
  }

  Inputs inputs_;  // of this phase
  std::int32_t gpus_;
  std::optional<Problem> problem_;
  std::optional<Evaluator> evaluator_;
  bool failed_ = false;
  PlannedPhase out_;
};

}  // namespace

std::vector<PlannedPhase> plan_phase(const Inputs& inputs, const JobPhase& phase,
                                     const std::vector<std::int32_t>& gpus, const std::string& fixed,
                                     const ProgressReport& report) {
  std::vector<std::unique_ptr<CountPlanner>> counts;
  for (const std::int32_t count : gpus)
    counts.push_back(std::make_unique<CountPlanner>(inputs, phase, count));
  for (std::size_t i = phase.batches.size(); i-- > 0;) {
    std::vector<CountPlanner*> searched;
    std::vector<SearchTask> tasks;
    for (const std::unique_ptr<CountPlanner>& count : counts) {
      if (!count->needs_search(phase.batches[i])) continue;
      searched.push_back(count.get());
      tasks.push_back({&count->problem(), space_of(count->problem(), fixed)});
    }
    const std::vector<SearchResult> found = search_together(tasks, {.top = 1, .quick = true}, report);
    for (std::size_t n = 0; n < found.size(); ++n) searched[n]->take(found[n]);
  }
  std::vector<PlannedPhase> out;
  for (const std::unique_ptr<CountPlanner>& count : counts) out.push_back(count->result());
  return out;
}

Bytes checkpoint_bytes(const Problem& problem, Evaluator& evaluator) {
  const StateMechanisms& state = problem.inputs.profile.state;
  return Bytes(size_of(state.master) + 2 * size_of(state.moments)) * trained_weights(problem, evaluator);
}

}  // namespace tw
