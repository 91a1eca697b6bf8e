// What is printed about a layout: the step with its 80% band, time by term with the source of each,
// memory by part and stage. Built from a Cost only for layouts that somebody looks at.
#pragma once

#include <string>
#include <vector>

#include "costmodel/evaluator.hpp"
#include "costmodel/parameters.hpp"

namespace tw {

// Half the width of an 80% band in standard deviations: the normal quantile of 0.9.
inline constexpr double kBand80 = 1.2815515655446004;

struct TermPrediction {
  Term term = Term::gemm;
  double seconds = 0;                           // busy on the bottleneck stage, hidden parts included
  double exposed = 0;                           // of it, what the step waits for
  Provenance provenance = Provenance::derived;  // the weakest of its ops
  bool extrapolated = false;                    // any of its ops lies outside its curve's range
};

// A source of error of the step: a curve of the calibration, or the step as a whole (framework, GPUs, a
// calibration carried over). They add in squares.
struct BandPart {
  std::string_view name;
  double seconds = 0;  // one standard deviation
};

struct Prediction {
  Layout layout;
  Cost cost;
  Bytes limit, device_memory;
  double low_seconds = 0, high_seconds = 0;  // the 80% band
  double tokens_per_s = 0;                   // of the whole job, repeated samples and padding included
  double unique_tokens_per_s = 0;            // of them, each token that is not padding once
  double tokens_per_s_per_gpu = 0;
  ParameterCount parameters;
  double model_tflops_per_gpu = 0;
  double mfu = 0, hfu = 0;  // of the bf16 peak; hfu counts recomputation as work
  std::vector<TermPrediction> terms;
  std::vector<StageDetail> stages;
  PipeDetail pipe;
  std::vector<BandPart> band;  // widest first
};

Prediction predict(Evaluator& evaluator, const Layout& layout);
std::string_view name_of(Provenance provenance);
std::string_view name_of(CurveId curve);

}  // namespace tw
