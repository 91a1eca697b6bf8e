// Staged training on cheaper GPUs, with waiting billed: a stage bills each of its GPUs until the slowest
// is done, as MoE-DisCo does (arXiv 2601.06857, section 4.4).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "reports/staged_result.hpp"
#include "topology/described.hpp"

namespace tw {

// times: of each GPU, or one for all.
struct StageSpec {
  std::string gpu;
  std::int32_t gpus = 0;
  std::vector<Seconds> times;
};
TW_DESCRIBE(StageSpec, gpu, gpus, times);

struct StagedRowSpec {
  std::string name;
  StageSpec baseline;
  std::vector<StageSpec> stages;
  std::optional<double> published_saving;
};
TW_DESCRIBE(StagedRowSpec, name, baseline, stages, published_saving);

struct StagedSpec {
  std::string title;
  std::map<std::string, DollarsPerSec> price_of_gpu;
  std::vector<StagedRowSpec> rows;
  std::string source;
};
TW_DESCRIBE(StagedSpec, title, price_of_gpu, rows, source);

// A name of scenarios/staged or a file; InputError where a price, a time or a stage is missing.
StagedResult staged(const std::string& name_or_path);

}  // namespace tw
