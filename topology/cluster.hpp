// A cluster as its file describes it: nodes (NVLink domains), their NICs, and the network above.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "topology/described.hpp"
#include "topology/gpu.hpp"

namespace tw {

inline constexpr std::int32_t kMostGpus = 1 << 20;

// What joins the GPUs of a node (of an NVLink domain).
enum class NodeLink : std::uint8_t { nvswitch, nvlink_mesh, pcie, host };
constexpr auto enum_names(const NodeLink*) {
  return std::array<std::pair<NodeLink, std::string_view>, 4>{{{NodeLink::nvswitch, "nvswitch"},
                                                               {NodeLink::nvlink_mesh, "nvlink-mesh"},
                                                               {NodeLink::pcie, "pcie"},
                                                               {NodeLink::host, "host"}}};
}
constexpr bool has_nvlink(NodeLink link) {
  return link == NodeLink::nvswitch || link == NodeLink::nvlink_mesh;
}

struct NodeSpec {
  std::int32_t gpus = 0;  // per node: per NVLink domain where that is larger than a host
  NodeLink link = NodeLink::nvswitch;
  std::int32_t switch_planes = 1;  // NVSwitch planes; each GPU's NVLink rate is spread over them
  std::int32_t nics = 0;           // per node
  BytesPerSec nic_rate;            // one NIC, one direction
  Seconds nic_latency;             // of one message, both NICs, without switches
  // Other GPU counts that jobs take of each node, e.g. 64 of the 72 of an NVL72: the largest that
  // divides the job's GPUs becomes `gpus` (resized). Kept in falling order.
  Defaulted<std::vector<std::int32_t>> also_used_as;

  // The NIC that serves a GPU: neighbours share one where there are fewer NICs than GPUs.
  std::int32_t nic_of(std::int32_t gpu) const {
    return static_cast<std::int32_t>(std::int64_t{gpu} * nics / gpus);
  }
  friend bool operator==(const NodeSpec&, const NodeSpec&) = default;
};
TW_DESCRIBE(NodeSpec, gpus, link, switch_planes, nics, nic_rate, nic_latency, also_used_as);

// Rail-optimised: NIC i of every node of a pod goes to leaf i of the pod. Otherwise a node's NICs
// all go to the one leaf of its pod.
struct NetworkSpec {
  bool rails = true;
  std::int32_t nodes_per_pod = 32;  // nodes under one set of leaves
  double oversubscription = 1;      // leaf down-links over up-links, by rate; 1: non-blocking
  Seconds switch_latency;           // per switch that a message passes
  friend bool operator==(const NetworkSpec&, const NetworkSpec&) = default;
};
TW_DESCRIBE(NetworkSpec, rails, nodes_per_pod, oversubscription, switch_latency);

// What is lost: a NIC (node, index), the uplinks of a leaf (node = pod, index = leaf), or NVLink
// rate of a GPU (node, index = GPU within it; one NVSwitch edge is 1/switch_planes of it).
enum class FaultKind : std::uint8_t { nic, leaf_uplink, nvswitch };
constexpr auto enum_names(const FaultKind*) {
  return std::array<std::pair<FaultKind, std::string_view>, 3>{
      {{FaultKind::nic, "nic"}, {FaultKind::leaf_uplink, "leaf_uplink"}, {FaultKind::nvswitch, "nvswitch"}}};
}
struct Fault {
  FaultKind kind = FaultKind::nic;
  std::int32_t node = 0;         // node, or pod of a leaf_uplink
  std::int32_t index = 0;        // NIC, leaf or GPU within it
  Defaulted<double> share{1.0};  // of the edge's rate that is lost, (0, 1]
  friend bool operator==(const Fault&, const Fault&) = default;
};
TW_DESCRIBE(Fault, kind, node, index, share);

struct Cluster {
  std::string title;
  std::string gpu;        // a name in scenarios/gpus, or a file beside this one
  std::int32_t gpus = 0;  // in all; a multiple of node.gpus, or fewer than one node
  NodeSpec node;
  NetworkSpec network;
  std::string calibration;  // a name in scenarios/calibrations
  Defaulted<std::vector<Fault>> faults;
  Defaulted<BytesPerSec> storage_per_node;  // checkpoint writes of the whole job, per node; zero: not stated
  std::string source;
  // Filled by load_cluster, not part of the file:
  std::string name;
  Gpu device;

  std::int32_t gpus_per_node() const { return std::min(gpus, node.gpus); }
  std::int32_t nodes() const { return gpus / gpus_per_node(); }
  std::int32_t pods() const { return (nodes() - 1) / network.nodes_per_pod + 1; }
  std::int32_t leaves_per_pod() const { return network.rails ? node.nics : 1; }
  friend bool operator==(const Cluster&, const Cluster&) = default;
};
TW_DESCRIBE(Cluster, title, gpu, gpus, node, network, calibration, faults, storage_per_node, source);

// A file, a name in scenarios/clusters, or either with ":GPUS" to resize it.
Cluster load_cluster(std::string_view spec);
// Another size of the same cluster: part of one node, whole nodes, or the largest of also_used_as
// that divides it of every node. InputError when it is none of these, or a fault falls outside.
Cluster resized(const Cluster& cluster, std::int32_t gpus);

}  // namespace tw
