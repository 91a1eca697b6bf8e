// Short measurements of what is here against the calibration: each GPU, the links between them, and the
// exchanges of CPU ranks (trainwright-calibrate-gpu and trainwright-calibrate beside this program).
#pragma once

#include "planner/preflight/check.hpp"

namespace tw::preflight {

struct MachineAsk {
  std::string plan;      // path
  std::string launcher;  // 'CMD {ranks}'; empty: mpirun or srun
};

// Each adds findings "machine"; a fault is a failure.
void probe_gpus(const Priced& priced, CheckResult& result);  // of this host
// An all-reduce in one node, and one over all of them; and by what NCCL goes (its log).
void probe_links(const MachineAsk& ask, const Priced& priced, CheckResult& result);
// Exchanges of the trainer's own steps on all ranks, and each rank's own work beside the others'.
void probe_exchanges(const MachineAsk& ask, const Priced& priced, CheckResult& result);
// The plan's first layout, trained for a few steps.
void short_run(const MachineAsk& ask, CheckResult& result);

// Lines of standard output, of a command that may take so long.
struct Output {
  int code = 0;
  std::vector<std::string> lines;
};
Output output_of(const std::vector<std::string>& argv);

// The transports in NCCL's log ("NCCL INFO Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM"), each once, in order:
// P2P, SHM, NET/IB, NET/Socket, ...
std::vector<std::string> transports_of(const std::vector<std::string>& log);

}  // namespace tw::preflight
