// Reads the output of nccl-tests (all_reduce_perf, all_gather_perf, reduce_scatter_perf, alltoall_perf,
// sendrecv_perf) of the versions since 2.0: with and without the columns redop, root, error and #wrong, the
// group of a rank, and MPI. Times are those out of place. What cannot be read is said, line by line.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "calibrate/fit/rows.hpp"
#include "topology/gpu.hpp"

namespace tw {

struct NcclLog {
  std::string name;                // of the file, for messages
  std::string gpu;                 // its name in scenarios/gpus
  std::string source;              // written into each row
  std::int32_t nodes = 0;          // 0: the hosts that the log names
  std::int32_t per_node = 0;       // ranks; 0: all ranks that the log names, over the nodes
  std::optional<Collective> kind;  // where the log does not say
  std::string algorithm;  // the curve that the rows belong to; empty: the usual one of the collective
  BytesPerSec inter;      // of one rank's network, between nodes
};

struct ImportedRows {
  std::vector<CollectiveRow> rows;
  std::vector<std::string> skipped;  // "FILE:LINE: why"
};

// InputError where the log does not say what was run, or says it twice.
ImportedRows read_nccl_tests(std::string_view text, const NcclLog& log, const Gpu& gpu);

}  // namespace tw
