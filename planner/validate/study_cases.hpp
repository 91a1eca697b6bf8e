// The cases of a study predicted, the answer (which is better and by how much) held against the source,
// and why: the terms that differ most between the best and the worst case, per unique token.
#pragma once

#include "costmodel/compare.hpp"
#include "planner/validate/study.hpp"

namespace tw::validate {

struct PredictedCase {
  std::string name;
  double predicted = 0, measured = 0;  // of what is compared; fits: 1 or 0
  double step_time_s = 0, memory_gib = 0, limit_gib = 0;
  std::string layout, framework;
  std::optional<Cost> cost;  // of a step, scaled to one unique token
  std::string why_not;       // set where the case cannot be predicted
};

struct AnsweredStudy {
  Ablation study;
  std::vector<PredictedCase> cases;
  std::string best;                                // predicted
  double predicted_ratio = 0, measured_ratio = 0;  // of the measured best over the worst
  std::int32_t pairs = 0, pairs_right = 0;         // that the source tells apart, and those in order
  bool right = false;                              // all of them, or all of `fits`
  double mean_error = 0, worst_error = 0;          // of the figures, relative
  std::optional<bool> accurate;                    // all figures within what the study asks for
  std::vector<TermDifference> why;                 // seconds per unique token, worst over best
};

PredictedCase predict_case(const StudyCase& one, Quantity compare);
AnsweredStudy answer(const Ablation& study);
// Every study of scenarios/studies whose name contains `name`.
std::vector<AnsweredStudy> answer_studies(const std::string& name);

// Whether more of it is better.
bool more_is_better(Quantity compare);

}  // namespace tw::validate
