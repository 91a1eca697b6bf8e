// Small planning problems over shipped scenarios, for tests of the planner.
#pragma once

#include <string>

#include "planner/problem.hpp"

namespace tw {

inline Inputs inputs_of(const std::string& model, const std::string& cluster, std::int64_t batch,
                        std::int32_t seq, const std::string& framework = "megatron") {
  Asked asked;
  asked.model = model, asked.cluster = cluster, asked.framework = framework;
  asked.global_batch = std::to_string(batch), asked.seq = std::to_string(seq);
  return load_inputs(asked);
}

}  // namespace tw
