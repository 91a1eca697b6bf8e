// Published training runs (scenarios/runs) and how clusters fail (scenarios/operations).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "topology/described.hpp"

namespace tw {

struct PublishedRun {
  std::string title, model, gpu;  // names of scenarios
  std::int32_t gpus = 0;
  Defaulted<std::string> tokens;  // with a prefix: "14.8T tokens"
  std::optional<double> gpu_hours;
  std::optional<std::int64_t> global_batch;
  std::optional<std::int32_t> seq;
  Defaulted<std::string> framework, precision, layout;
  std::optional<Seconds> period;  // that the interruptions were counted in
  std::optional<std::int32_t> interruptions;
  std::optional<double> effective_time;  // share of the period that was training
  std::string source;
};
TW_DESCRIBE(PublishedRun, title, model, gpu, gpus, tokens, gpu_hours, global_batch, seq, framework, precision,
            layout, period, interruptions, effective_time, source);

// Mean time between failures from `failures_of`, a run: gpus x period / interruptions (derived).
struct Operations {
  std::string title, failures_of;
  Seconds detect, restart;
  std::string source;
};
TW_DESCRIBE(Operations, title, failures_of, detect, restart, source);

PublishedRun load_run(const std::string& name);
std::vector<PublishedRun> all_runs();
Operations load_operations(const std::string& name_or_path);
Seconds mtbf_per_gpu(const PublishedRun& run);  // InputError where the run states no interruptions

}  // namespace tw
