// Dense against MoE at an equal step time, as "Revisiting MoE and Dense Speed-Accuracy Comparisons for LLM
// Training" (Du et al. 2024, arXiv 2405.15052) compares them: complexity is the time of a step on the
// machine, and the budget is what the dense model takes for its compute-optimal tokens.
#pragma once

#include <optional>
#include <string>

#include "planner/problem.hpp"
#include "reports/equal_step_result.hpp"

namespace tw {

struct EqualStepSettings {
  std::int32_t experts = 0, top_k = 0;
  std::int32_t every = 1;              // one of so many layers is routed, the last of each group
  std::optional<std::int64_t> tokens;  // of the dense model; absent: kTokensPerParameter for each parameter
  std::string fixed;
  bool progress = false;
};

// Hoffmann et al. 2022 (arXiv 2203.15556), table 3: about 20 tokens for each parameter.
inline constexpr std::int64_t kTokensPerParameter = 20;
// Widths of an expert are multiples of this, as tensor cores like them (derived).
inline constexpr std::int32_t kWidthStep = 64;

// The dense model with an MoE in every `every`-th layer, of `experts` experts of this width.
Model moe_of(const Model& dense, const EqualStepSettings& settings, std::int32_t ffn);

// InputError where the model is not dense.
EqualStepResult equal_step(const Inputs& inputs, const EqualStepSettings& settings);

}  // namespace tw
