// What commands answer, as values: the question with everything that it was answered with, and the
// predictions. json.hpp and text.hpp print them; nothing here computes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "costmodel/compare.hpp"
#include "costmodel/prediction.hpp"

namespace tw {

struct Question {
  std::string model, cluster, calibration, framework;
  std::string calibration_source;  // measured, or derived where it is carried over from another GPU
  std::string precision;
  std::int64_t global_batch = 0;
  std::int32_t seq = 0, gpus = 0;
  std::int32_t gpus_per_node = 0, nics_per_node = 0;
  Bytes headroom;
  Routing routing;
};

struct PredictResult {
  Question question;
  Prediction prediction;
  std::vector<std::string> notes;  // what a reader must know, one line each
  double simulated_seconds = 0;    // of the step, where it was played
};

struct Searched {
  std::int64_t legal = 0, evaluated = 0, refused_by_memory = 0, pruned_by_bound = 0;
  double seconds = 0;
  bool proven = false;  // nothing legal was left out
};

// A layout that memory refused, and the fastest change of one key that makes it fit.
struct NearMiss {
  Layout layout;
  Cost cost;
  std::string remedy;         // "recompute=full"; empty: no single change does
  double remedy_seconds = 0;  // of the step with it
};

// The answer for one number of GPUs.
struct CountResult {
  std::int32_t gpus = 0;
  Searched searched;
  std::vector<Prediction> best;       // best first
  std::vector<Comparison> behind;     // each of `best` beside the first
  std::vector<double> simulated;      // seconds per step of the first of `best`, played with links shared
  std::vector<NearMiss> near_misses;  // that would have won; where nothing fits, the nearest
  std::string nothing_legal;          // why, where no layout is legal
  Bytes limit;                        // of device memory that a layout may use
};

struct PlanResult {
  Question question;  // its gpus: of the first of `counts`
  std::string objective, fixed;
  std::vector<CountResult> counts;
  std::size_t answer = 0;  // index into counts: the best by the objective
};

}  // namespace tw
