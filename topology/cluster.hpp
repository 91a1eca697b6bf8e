// A cluster as its file describes it: nodes (NVLink domains), their NICs, and the network above.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "topology/described.hpp"
#include "topology/gpu.hpp"

namespace tw {

// What joins the GPUs of a node (of an NVLink domain).
enum class NodeLink : std::uint8_t { nvswitch, nvlink_mesh, pcie, host };
constexpr auto enum_names(const NodeLink*) {
  return std::array<std::pair<NodeLink, std::string_view>, 4>{
      {{NodeLink::nvswitch, "nvswitch"}, {NodeLink::nvlink_mesh, "nvlink-mesh"},
       {NodeLink::pcie, "pcie"}, {NodeLink::host, "host"}}};
}

struct NodeSpec {
  std::int32_t gpus = 0;  // per node: per NVLink domain where that is larger than a host
  NodeLink link = NodeLink::nvswitch;
  std::int32_t switch_planes = 1;  // NVSwitch planes; each GPU's NVLink rate is spread over them
  std::int32_t nics = 0;           // per node
  BytesPerSec nic_rate;            // one NIC, one direction
  Seconds nic_latency;
};
TW_DESCRIBE(NodeSpec, gpus, link, switch_planes, nics, nic_rate, nic_latency);

// Rail-optimised: NIC i of every node of a pod goes to leaf i of the pod. Otherwise a node's NICs
// all go to one leaf.
struct NetworkSpec {
  bool rails = true;
  std::int32_t nodes_per_pod = 32;  // nodes under one set of leaves
  double oversubscription = 1;      // leaf down-links over up-links, by rate; 1: non-blocking
};
TW_DESCRIBE(NetworkSpec, rails, nodes_per_pod, oversubscription);

// A missing edge: "nic" (node, index), "leaf_uplink" (pod, index = leaf, count of 100 uplink
// shares lost as a fraction in `share`), "nvswitch" (node, gpu = index, share of that GPU's rate).
struct Fault {
  std::string kind;
  std::int32_t node = 0;   // node, or pod of a leaf_uplink
  std::int32_t index = 0;  // NIC, leaf or GPU within it
  Defaulted<double> share{1.0};  // of the edge's rate that is lost, (0, 1]
};
TW_DESCRIBE(Fault, kind, node, index, share);

struct Cluster {
  std::string title;
  std::string gpu;          // a name in scenarios/gpus, or a file beside this one
  std::int32_t gpus = 0;    // in all; a multiple of node.gpus, or fewer than one node
  NodeSpec node;
  NetworkSpec network;
  std::string calibration;  // a name in scenarios/calibrations
  Defaulted<std::vector<Fault>> faults;
  std::string source;
  // Filled by load_cluster, not part of the file:
  std::string name;
  Gpu device;
};
TW_DESCRIBE(Cluster, title, gpu, gpus, node, network, calibration, faults, source);

// A file, a name in scenarios/clusters, or either with ":GPUS" to resize it.
Cluster load_cluster(std::string_view spec);
// Another size of the same cluster; InputError when it is not whole nodes (or part of one).
Cluster resized(const Cluster& cluster, std::int32_t gpus);

}  // namespace tw
