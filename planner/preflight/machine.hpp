// check --machine: what is really there, on every host that the launcher reaches, against what the plan was
// made for: ranks and their cores, GPUs, NVLink, PCIe and NICs (hosts.hpp, placement.hpp), then a short
// probe of each GPU and link, or of CPU ranks' exchanges, against the calibration (probes.hpp).
#pragma once

#include "planner/preflight/probes.hpp"

namespace tw::preflight {

// Adds findings "machine"; a fault is a failure that names the GPU, the link, the ranks or the calibration.
void judge_machine(const MachineAsk& ask, CheckResult& result);

}  // namespace tw::preflight
