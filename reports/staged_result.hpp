// Training in stages on different GPUs beside training on one kind: cost, waiting and break-even.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "reports/table.hpp"
#include "topology/json.hpp"
#include "topology/units.hpp"

namespace tw {

struct StageCostRow {
  std::string gpu;
  std::int32_t gpus = 0;
  Seconds time;  // of the slowest GPU
  Dollars cost;  // all GPUs, from the first that starts to the last that ends
  std::optional<Dollars>
      waiting;  // of it, for GPUs done before the slowest; absent: only that one's time is known
};

struct StagedRow {
  std::string name;
  StageCostRow baseline;
  std::vector<StageCostRow> stages;
  Seconds time;  // of all stages, one after another
  Dollars cost;
  double saving = 0;  // of the baseline's cost
  std::optional<double> published_saving;
  // Price of the first stage's GPU over the baseline's at which both cost the same; absent where nothing
  // of the stages' other costs is left to save.
  std::optional<double> break_even;
};

struct StagedResult {
  std::string title, source;
  double price_ratio = 0;  // of the first row's first stage over its baseline
  std::vector<StagedRow> rows;
};

Json to_json(const StagedResult& result);
std::string to_text(const StagedResult& result, const Terminal& terminal, bool quiet);

}  // namespace tw
