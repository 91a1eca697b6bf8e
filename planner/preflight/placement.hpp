// One host against the host that a plan was made for: GPUs and what occupies them, NVLink, PCIe, NICs and
// how near they are to their GPUs, and the cores of each rank.
#pragma once

#include "planner/preflight/hosts.hpp"
#include "reports/check_result.hpp"
#include "topology/cluster.hpp"

namespace tw::preflight {

// Adds findings "machine" that begin with `who` ("" or "host NAME: "). NICs are judged where the cluster has
// several nodes. Sources: NCCL's environment documentation for the distances of `nvidia-smi topo -m` (a NIC
// within PXB of its GPU is reached without the CPU).
void judge_gpu_host(const Cluster& cluster, const HostState& host, const std::string& who,
                    CheckResult& result);
// Whether the ranks of one host may use a core each; a finding where not.
bool judge_cores(const HostState& host, const std::string& who, CheckResult& result);

// Whether a device of nvidia-smi's name ("NVIDIA H200") is of a kind of ours ("h200-sxm").
bool same_kind(const std::string& gpu, const std::string& device);
// Lists of cores as Linux writes them: "0-23,96-119".
std::int32_t cores_in(const std::vector<std::string>& lists);
bool cores_meet(const std::string& one, const std::string& other);

}  // namespace tw::preflight
