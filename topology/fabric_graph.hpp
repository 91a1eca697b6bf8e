// The graph behind Fabric, and the rates that are read off its edges. Private to topology/fabric.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "topology/cluster.hpp"

namespace tw {

// Sums and bottlenecks of edges, bytes/s one way. GPUs and NICs are numbered through the nodes,
// leaves through the pods.
struct EdgeRates {
  std::vector<double> gpu_nvlink;  // of a GPU to all its NVSwitch planes or mesh peers
  std::vector<double> gpu_host;    // of a GPU over PCIe
  std::vector<double> nic;         // of a NIC to its leaf, as far as its PCIe edges can feed it
  std::vector<double> uplink;      // of a leaf to the spine
};

class FabricGraph {
 public:
  explicit FabricGraph(const Cluster& cluster);
  ~FabricGraph();
  FabricGraph(FabricGraph&&) noexcept;

  EdgeRates rates() const;
  std::size_t vertices() const;
  std::size_t edges() const;
  // Max-flow from the GPUs of the first half of the nodes (of a lone node: of its GPUs) to the rest.
  BytesPerSec bisection() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tw
