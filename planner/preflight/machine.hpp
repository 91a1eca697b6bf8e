// check --machine: what is really there, against what the plan was made for: GPUs and what occupies them
// (nvidia-smi), the ranks that the launcher starts, and a short probe of each GPU and of the link between
// them (trainwright-calibrate-gpu beside this program) against the calibration. On CPUs: how busy the
// machine is, and a short training run of the plan's first layout.
#pragma once

#include "planner/preflight/check.hpp"

namespace tw::preflight {

struct MachineAsk {
  std::string plan;      // path
  std::string launcher;  // 'CMD {ranks}'; empty: mpirun or srun
};
// Adds findings "machine"; a fault is a failure that names the GPU, the link, the ranks or the calibration.
void judge_machine(const MachineAsk& ask, CheckResult& result);

// What nvidia-smi prints for --query-gpu=index,name,memory.total,memory.used,utilization.gpu in CSV.
struct GpuState {
  std::int32_t index = 0;
  std::string name;
  double total_gib = 0, used_gib = 0, busy = 0;  // busy: share of the last second
};
std::vector<GpuState> parse_gpus_table(const std::vector<std::string>& lines);
// Whether a device of nvidia-smi's name ("NVIDIA H200") is of a kind of ours ("h200-sxm").
bool same_kind(const std::string& gpu, const std::string& device);

}  // namespace tw::preflight
