// check: may a launch file, or a plan, run on a cluster? The layout that it means is held against the
// rules of its target, the legality of layouts, memory, the cluster's groups, and the best layout there.
#pragma once

#include "planner/preflight/launch.hpp"
#include "planner/problem.hpp"

namespace tw::preflight {

struct CheckAsk {
  LaunchAsk launch;
  std::string format;  // empty: found out
  Asked asked;         // cluster, calibration, framework (empty: the target's), headroom, expert load
  bool search = true;  // for a better layout and the least GPUs
};
CheckResult check_launch(const CheckAsk& ask);
// The layout `place` (from 1) of what plan --save wrote.
CheckResult check_plan(const std::string& plan, std::size_t place, bool search);

// A layout with all that it is priced by.
struct Priced {
  Priced(Inputs given, std::int32_t gpus) : inputs(std::move(given)), problem(inputs, gpus) {}
  Priced(const Priced&) = delete;
  Priced& operator=(const Priced&) = delete;
  Inputs inputs;
  Problem problem;
};

// Memory, groups, skew, waste: what is true of any layout, however it was asked for.
void judge_layout(const Priced& priced, const Layout& layout, CheckResult& result);
// The nearest better layout, and the least number of GPUs where it does not fit.
void search_better(const Priced& priced, const Layout& layout, CheckResult& result);
// Sizes of matrix products that low precision pads or refuses.
void judge_precision(const Inputs& inputs, const Layout& layout, CheckResult& result);

}  // namespace tw::preflight
