// What validate answers: every row with what was filled in, predicted and measured, and the scores of
// studies and groups. Plain values; print.hpp writes them.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "planner/validate/row.hpp"

namespace tw::validate {

struct PredictedRow {
  std::string layout, framework, cluster, calibration;
  double step_time_s = 0, step_time_low_s = 0, step_time_high_s = 0;
  double tokens_per_s_per_gpu = 0, model_tflops_per_gpu = 0, mfu = 0;
  double allocated_gib = 0, reserved_gib = 0, device_gib = 0, limit_gib = 0;
  std::vector<std::pair<std::string, double>> terms;         // exposed seconds, of those above 0
  std::vector<std::pair<std::string, double>> memory_parts;  // GiB on the worst stage
};

struct MeasuredRow {
  std::string from;  // what the source gives: step time, tokens/s, TFLOP/s, MFU; empty: no time
  double step_time_s = 0;
  std::string memory_unit;  // allocated, reserved, device
  Maybe<double> memory_gib;
  double utilisation = 0;  // model FLOPs (causal) over time and bf16 peak: for the hindsight constant
};

struct ValidatedRow {
  std::string id, source;
  std::string study;  // which is left out of a fit as a whole
  bool used = false;
  std::string why_not;
  std::vector<std::string> filled;
  Maybe<PredictedRow> predicted;
  MeasuredRow measured;
  Maybe<double> time_ratio, memory_ratio;  // predicted over measured
  // The same with every fitted constant as fitted without this row's study, or at its neutral value.
  Maybe<double> left_out_ratio, neutral_ratio;
  bool left_out_covered = false;  // the measured time lies inside the 80% band then
  Maybe<bool> fits_predicted, fits_measured;
  std::string group;     // GPU, dense or MoE, bf16 or low precision
  std::string question;  // rows of one study that answer the same question are ranked together
  bool in_time = false;  // gives a time
};

struct Score {
  std::string source;
  std::string name;   // short; of scenarios/published/studies.json
  std::string claim;  // of other simulators on the same data
  std::int32_t n = 0, used = 0;
  Maybe<double> time_mape, time_worst;  // per cent; a refused row counts 100
  Maybe<double> bias;                   // median of predicted over measured, minus 1, per cent
  Maybe<double> kendall_tau, top1_regret;
  std::int32_t ranked = 0;  // rows in questions of two or more
  Maybe<double> left_out_mape, neutral_mape, left_out_coverage;
  Maybe<double> memory_mape, fit_accuracy, coverage, half_width;
  Maybe<double> hindsight_mape;  // of one utilisation constant chosen with hindsight
};

// Rows of one study, framework and group that are wrong by the same sign.
struct Systematic {
  std::string study, framework, group;
  std::int32_t rows = 0;
  double mean = 0;   // of predicted over measured, minus 1, per cent
  std::string term;  // the longest of their predicted steps
  double share = 0;  // of the step, per cent
};

struct ValidateResult {
  std::string rows_file;
  std::vector<ValidatedRow> rows;
  std::vector<Score> studies, groups;
  Score overall;
  // Over the studies that rank five layouts or more; the others are not asked.
  Maybe<double> median_tau, median_regret;
  std::vector<std::string> ranking, too_few;
  // Groups of two rows or more: time error at most half of hindsight's, or not.
  std::vector<std::string> beats_hindsight, behind_hindsight;
  std::vector<Systematic> systematic;  // the largest, worst first
};

}  // namespace tw::validate
