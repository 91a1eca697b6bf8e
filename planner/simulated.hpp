// A simulated step as a result.
#pragma once

#include "costmodel/sim/simulate.hpp"
#include "planner/problem.hpp"
#include "reports/sim_result.hpp"

namespace tw {

SimResult sim_result(const Problem& problem, Evaluator& evaluator, const Layout& layout,
                     const SimSettings& settings, const SimulatedStep& step);

}  // namespace tw
