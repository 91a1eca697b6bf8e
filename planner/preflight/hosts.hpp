// What every host of a launch says of itself: its ranks and the cores they may use, its GPUs, what joins
// them (nvidia-smi), and its NICs (/sys/class/infiniband). One shell command, started on every rank by the
// launcher, prints it; the first rank of a host speaks for the host.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "topology/units.hpp"

namespace tw::preflight {

struct RankState {
  std::int32_t rank = 0, local = 0;  // of the launch; within its host
  std::string cores;                 // "0-23,96-119", as /proc/self/status lists them
};

struct GpuState {
  std::int32_t index = 0;
  std::string name;
  double total_gib = 0, used_gib = 0, busy = 0;  // busy: share of the last second
  std::int32_t lanes = 0, most_lanes = 0;        // of PCIe; 0: not said
};

struct NicState {
  std::string device;  // "mlx5_0"
  bool up = false;
  BytesPerSec rate;  // of its link, one direction
};

// The matrix of nvidia-smi topo -m: "NV18", "PIX", "PXB", "PHB", "NODE", "SYS"; empty where it says nothing.
struct GpuLinks {
  std::vector<std::vector<std::string>> gpus;  // [gpu][gpu]; "X" on the diagonal
  std::vector<std::vector<std::string>> nics;  // [gpu][nic]
  std::vector<std::string> nic_names;          // from its legend
  std::vector<std::string> cores;              // [gpu]: near it
};

// nvidia-smi nvlink -s: links of one GPU.
struct NvlinkState {
  std::int32_t active = 0, inactive = 0;
  BytesPerSec rate;  // of the active ones together, one direction
};

struct HostState {
  std::string name;
  std::vector<RankState> ranks;
  std::vector<GpuState> gpus;
  GpuLinks links;
  std::vector<NvlinkState> nvlink;  // [gpu]
  std::vector<NicState> nics;
  std::string driver_says;  // a line of nvidia-smi that is no table, such as "command not found"
};

// For `sh -c`.
std::string host_script();
// Lines that are not of the script are passed over. Hosts in the order of their first rank.
std::vector<HostState> parse_hosts(const std::vector<std::string>& lines);

// Formats of nvidia-smi, each by itself. --query-gpu=index,name,memory.total,memory.used,utilization.gpu,
// pcie.link.width.current,pcie.link.width.max --format=csv,noheader,nounits; the last two may be missing.
std::vector<GpuState> parse_gpus_table(const std::vector<std::string>& lines);
GpuLinks parse_topology(const std::vector<std::string>& lines);
std::vector<NvlinkState> parse_nvlink(const std::vector<std::string>& lines);

}  // namespace tw::preflight
