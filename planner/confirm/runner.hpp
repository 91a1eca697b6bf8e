// A run of somebody else's framework: the layout exported for it, its command started, its log read.
#pragma once

#include "planner/confirm/confirm.hpp"
#include "planner/preflight/launch.hpp"

namespace tw {

// runner: a shell command. {args} stands for the options of the exported launch, {file} for the file, {gpus}
// for the ranks.
struct RunnerAsk {
  std::string runner, target, file;
  preflight::ExportAsk launch;
  std::int64_t warm_up = 3;
  double silence = 120;  // seconds without a line, before a run counts as hung
};
// Fills layout.measured, or says in layout.failed why it has none. InputError where the target cannot express
// the layout, or the command cannot be started.
void run_exported(const RunnerAsk& ask, ConfirmedLayout& layout,
                  const std::function<void(const std::string&)>& progress);

// Median and percentiles of a log's steps after warm-up.
std::optional<Measured> measured_in_log(const std::vector<std::string>& lines, double tokens_per_gpu,
                                        std::int64_t global_batch, std::int64_t warm_up);

}  // namespace tw
