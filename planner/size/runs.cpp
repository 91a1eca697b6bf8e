#include "planner/size/runs.hpp"

#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {

PublishedRun load_run(const std::string& name) {
  return load<PublishedRun>(scenario_path("runs", name));
}

std::vector<PublishedRun> all_runs() {
  std::vector<PublishedRun> out;
  for (const std::string& name : scenario_names("runs")) out.push_back(load_run(name));
  return out;
}

Operations load_operations(const std::string& name_or_path) {
  return load<Operations>(scenario_path("operations", name_or_path));
}

Seconds mtbf_per_gpu(const PublishedRun& run) {
  if (!run.period || !run.interruptions || *run.interruptions < 1)
    throw InputError("scenarios/runs", run.title, "states no interruptions in a period");
  return *run.period * (static_cast<double>(run.gpus) / *run.interruptions);
}

}  // namespace tw
