// The size command as a function: a job, limits and numbers of GPUs in; a row per number and the rows
// that answer out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planner/size/phase.hpp"
#include "reports/size_result.hpp"

namespace tw {

struct SizeSettings {
  std::vector<std::int32_t> gpus;  // rising
  std::vector<JobPhase> phases;
  std::optional<Seconds> deadline;
  std::optional<Dollars> budget;
  std::optional<DollarsPerSec> price;  // of a GPU
  Reliability reliability;
  std::string fixed;
  bool progress = false;  // on standard error
};

SizeResult make_size(const Inputs& inputs, const SizeSettings& settings);

// Doublings of a node up to kMostDefaultGpus.
inline constexpr std::int32_t kMostDefaultGpus = 16384;
std::vector<std::int32_t> default_gpus(const Cluster& cluster);

// A planned row's time, failures, waiting, dollars and energy. Public for tests.
void fill_row(SizeRow& row, const Cluster& any_size, const SizeSettings& settings);
// Spare nodes that cost least for each hour of work: the first n for which one more does not lower
// (nodes + n) / (1 - waiting(n)).
std::int32_t cheapest_spares(std::int32_t nodes, double load);
// Marks rows that no other row is as good as in GPUs, time and dollars and better in one.
void mark_pareto(std::vector<SizeRow>& rows);
// Sets cheapest, fastest, answer and nearest from the rows and the limits.
void answer_size(SizeResult& result);

}  // namespace tw
