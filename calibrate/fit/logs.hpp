// Rows of the logs of trainwright-calibrate-gpu: a row's time is the median of its samples.
#pragma once

#include <string>
#include <vector>

#include "calibrate/fit/rows.hpp"
#include "calibrate/measure/row_log.hpp"

namespace tw {

struct LoggedRows {
  std::vector<KernelRow> kernels;
  std::vector<CollectiveRow> collectives;
};
// network: a rank's rate between nodes, where the log has several; a log of several without it is refused.
LoggedRows rows_of_log(const LogFile& log, const CalibratedDevice& device, BytesPerSec network = {});
LoggedRows load_logs(const std::vector<std::string>& paths, const CalibratedDevice& device,
                     BytesPerSec network = {});

// Rows of an operation that `over` has stand in for all of that operation in `rows`.
std::vector<KernelRow> overlaid(const std::vector<KernelRow>& rows, const std::vector<KernelRow>& over);

}  // namespace tw
