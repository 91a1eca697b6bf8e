// plan.json: what `plan --save` writes and later commands run. It holds the question, the layouts
// with their predictions, and a hash of every file that went in, so that a changed input is noticed.
#pragma once

#include "planner/problem.hpp"
#include "topology/described.hpp"

namespace tw {

inline constexpr std::string_view kPlanFileSchema = "trainwright.plan-file/1";

// A name of scenarios/ or an absolute path, and the hash of what it held.
struct PlanSource {
  std::string given, content;
  friend bool operator==(const PlanSource&, const PlanSource&) = default;
};
TW_DESCRIBE(PlanSource, given, content);

struct PlannedLayout {
  std::string layout;
  Seconds step, low, high;  // the 80% band
  Bytes peak;               // of device memory on the worst stage
  friend bool operator==(const PlannedLayout&, const PlannedLayout&) = default;
};
TW_DESCRIBE(PlannedLayout, layout, step, low, high, peak);

struct PlanFile {
  std::string schema{kPlanFileSchema};
  PlanSource model, cluster, calibration, framework;
  std::int32_t gpus = 0;
  std::int64_t global_batch = 0;
  std::int32_t seq = 0;
  std::string precision;
  Bytes headroom;
  double expert_load = 0, capacity_factor = 0;  // 0: the calibration's; dropless
  Defaulted<bool> fresh_routers{false};
  std::string objective, fixed;
  std::vector<PlannedLayout> layouts;  // best first
  friend bool operator==(const PlanFile&, const PlanFile&) = default;
};
TW_DESCRIBE(PlanFile, schema, model, cluster, calibration, framework, gpus, global_batch, seq, precision,
            headroom, expert_load, capacity_factor, fresh_routers, objective, fixed, layouts);

// Of the count that the plan answers with.
PlanFile plan_file(const Asked& asked, const Inputs& inputs, const PlanResult& result);
// Strict: unknown keys, layouts that are illegal, and inputs that changed since are InputErrors.
PlanFile load_plan(const std::string& path);
// The layout at a place as typed, from 1; InputError at `option` where there is none.
const PlannedLayout& planned_layout(const PlanFile& plan, std::string_view option, std::string_view place);
// What loads the same inputs again.
Asked asked_of(const PlanFile& plan);

}  // namespace tw
