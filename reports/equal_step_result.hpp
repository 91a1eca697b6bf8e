// A dense model beside the MoE of its family with an equal step: sizes, steps, and the tokens that each
// gets from one compute budget.
#pragma once

#include <string>
#include <vector>

#include "reports/result.hpp"
#include "reports/table.hpp"
#include "topology/json.hpp"

namespace tw {

struct EqualStepRow {
  std::string name;
  std::int32_t ffn = 0;  // of the dense MLP, or of one expert
  ParameterCount parameters;
  Prediction best;
  double flops_per_token = 0;  // of the model
  double tokens_by_time = 0;   // from the budget in GPU-hours
  double tokens_by_flops = 0;  // from the same budget in model FLOPs
};

struct EqualStepResult {
  Question question;
  std::vector<EqualStepRow>
      rows;  // dense, the MoE with an equal step, the MoE with experts as wide as the MLP
  double budget_gpu_hours = 0, budget_flops = 0;
  std::vector<std::string> assumptions;
  std::string why_not;  // where no MoE of the family has an equal step
};

Json to_json(const EqualStepResult& result);
std::string to_text(const EqualStepResult& result, const Terminal& terminal, bool quiet);

}  // namespace tw
