// The phases of a job, and what each takes on a number of GPUs: the best layout, its steps, and the bytes
// of a checkpoint.
#pragma once

#include <string>
#include <vector>

#include "planner/problem.hpp"
#include "planner/search.hpp"

namespace tw {

// Constant but for the batch, which may grow in equal shares of the tokens.
struct JobPhase {
  std::string name;
  std::int64_t tokens = 0;            // padding apart
  std::vector<std::int64_t> batches;  // sequences per step, one after another
  std::int32_t seq = 0;               // tokens of a sequence
  Training training;
};

struct PlannedPart {
  Prediction best;
  Bytes checkpoint;
};

struct PlannedPhase {
  std::vector<PlannedPart> parts;  // one per batch; empty where one of them has no layout
  Searched searched;
  std::vector<NearMiss> near_misses;  // where none fits
  std::string nothing_legal;
  Bytes limit;
};

// On each number of GPUs. The layout is searched for the last batch; earlier batches keep it where it is
// legal and fits, and are searched for where it is not.
std::vector<PlannedPhase> plan_phase(const Inputs& inputs, const JobPhase& phase,
                                     const std::vector<std::int32_t>& gpus, const std::string& fixed,
                                     const ProgressReport& report);

// Of what is trained, all ranks together: master weights and two moments in the framework's formats, from
// which the weights of the next step follow. Frozen weights are not written again.
Bytes checkpoint_bytes(const Problem& problem, Evaluator& evaluator);

}  // namespace tw
