#include "topology/fabric_graph.hpp"

#include <algorithm>
#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/push_relabel_max_flow.hpp>
#include <cmath>

namespace tw {
namespace {

struct Edge {
  double rate;  // bytes/s from the lower to the upper vertex; the way back carries as much
};
// Edges point upwards: GPU to plane, host and NIC, host to NIC, NIC to leaf, leaf to spine; a mesh
// has both directions of each pair.
using Graph = boost::adjacency_list<boost::vecS, boost::vecS, boost::directedS, boost::no_property, Edge>;

using Flow = std::int64_t;  // whole bytes/s, so that max-flow is exact
using Traits = boost::adjacency_list_traits<boost::vecS, boost::vecS, boost::directedS>;
using FlowGraph = boost::adjacency_list<
    boost::vecS, boost::vecS, boost::directedS, boost::no_property,
    boost::property<boost::edge_capacity_t, Flow,
                    boost::property<boost::edge_residual_capacity_t, Flow,
                                    boost::property<boost::edge_reverse_t, Traits::edge_descriptor>>>>;

// One way. The library takes an edge's reverse to have no capacity of its own.
void add_flow(FlowGraph& graph, std::size_t from, std::size_t to, Flow capacity) {
  const auto there = boost::add_edge(from, to, capacity, graph).first;
  const auto back = boost::add_edge(to, from, 0, graph).first;
  boost::put(boost::edge_reverse, graph, there, back);
  boost::put(boost::edge_reverse, graph, back, there);
}

}  // namespace

struct FabricGraph::Impl {
  std::size_t nodes, gpus, planes, nics, pods, leaves, nodes_per_pod;
  bool rails, mesh;
  Graph graph;

  explicit Impl(const Cluster& cluster);
  // Vertices: node by node its GPUs, planes, host and NICs; then the leaves; then the spine.
  std::size_t node_size() const { return gpus + planes + 1 + nics; }
  std::size_t gpu(std::size_t node, std::size_t i) const { return node * node_size() + i; }
  std::size_t plane(std::size_t node, std::size_t i) const { return gpu(node, gpus + i); }
  std::size_t host(std::size_t node) const { return gpu(node, gpus + planes); }
  std::size_t nic(std::size_t node, std::size_t i) const { return gpu(node, gpus + planes + 1 + i); }
  std::size_t leaf(std::size_t pod, std::size_t i) const { return gpu(nodes, 0) + pod * leaves + i; }
  std::size_t spine() const { return leaf(pods, 0); }

  void connect(std::size_t from, std::size_t to, double rate) {
    boost::add_edge(from, to, Edge{rate}, graph);
  }
  void add_node(const Cluster& cluster, std::size_t node);
  void add_leaves(const Cluster& cluster);
  void lose(const Fault& fault);
  double rate_to(std::size_t from, std::size_t first, std::size_t last) const;
  void scale(std::size_t from, std::size_t first, std::size_t last, double left);
};

FabricGraph::Impl::Impl(const Cluster& cluster)
    : nodes(static_cast<std::size_t>(cluster.nodes())),
      gpus(static_cast<std::size_t>(cluster.gpus_per_node())),
      planes(cluster.node.link == NodeLink::nvswitch ? static_cast<std::size_t>(cluster.node.switch_planes)
                                                     : 0),
      nics(static_cast<std::size_t>(cluster.node.nics)),
      pods(static_cast<std::size_t>(cluster.pods())),
      leaves(nodes > 1 ? static_cast<std::size_t>(cluster.leaves_per_pod()) : 0),
      nodes_per_pod(static_cast<std::size_t>(cluster.network.nodes_per_pod)),
      rails(cluster.network.rails),
      mesh(cluster.node.link == NodeLink::nvlink_mesh),
      graph(nodes * node_size() + pods * leaves + (pods > 1 ? 1 : 0)) {
  for (std::size_t node = 0; node < nodes; ++node) add_node(cluster, node);
  if (pods > 1) add_leaves(cluster);
  for (const Fault& fault : *cluster.faults) lose(fault);
}

void FabricGraph::Impl::add_node(const Cluster& cluster, std::size_t node) {
  const double pcie = cluster.device.pcie_one_way.value;
  const double nvlink = cluster.device.nvlink_one_way.value;
  const bool nic_at_gpu = has_nvlink(cluster.node.link);  // behind one PCIe switch with its GPUs
  const double peers = cluster.node.gpus - 1;
  for (std::size_t i = 0; i < gpus; ++i) {
    graph.out_edge_list(gpu(node, i)).reserve(planes + 2);
    for (std::size_t p = 0; p < planes; ++p) {
      connect(gpu(node, i), plane(node, p), nvlink / static_cast<double>(planes));
    }
    for (std::size_t j = 0; mesh && j < gpus; ++j) {
      if (j != i) connect(gpu(node, i), gpu(node, j), nvlink / peers);
    }
    connect(gpu(node, i), host(node), pcie);
    const auto own_nic = static_cast<std::size_t>(cluster.node.nic_of(static_cast<std::int32_t>(i)));
    if (nic_at_gpu && nics > 0) connect(gpu(node, i), nic(node, own_nic), pcie);
  }
  for (std::size_t i = 0; i < nics; ++i) {
    if (!nic_at_gpu) connect(host(node), nic(node, i), pcie);
    if (leaves > 0)
      connect(nic(node, i), leaf(node / nodes_per_pod, rails ? i : 0), cluster.node.nic_rate.value);
  }
}

// derived: a leaf has ports for all NICs of a full pod that end at it, and the oversubscription is
// the ratio of those to its uplinks.
void FabricGraph::Impl::add_leaves(const Cluster& cluster) {
  const double ports = cluster.network.nodes_per_pod * (rails ? 1.0 : static_cast<double>(nics));
  const double uplink = ports * cluster.node.nic_rate.value / cluster.network.oversubscription;
  for (std::size_t pod = 0; pod < pods; ++pod) {
    for (std::size_t i = 0; i < leaves; ++i) connect(leaf(pod, i), spine(), uplink);
  }
}

void FabricGraph::Impl::lose(const Fault& fault) {
  const auto node = static_cast<std::size_t>(fault.node);
  const auto index = static_cast<std::size_t>(fault.index);
  const double left = 1 - *fault.share;
  if (fault.kind == FaultKind::nic && leaves > 0) scale(nic(node, index), leaf(0, 0), spine(), left);
  if (fault.kind == FaultKind::leaf_uplink && pods > 1) scale(leaf(node, index), spine(), spine() + 1, left);
  if (fault.kind == FaultKind::nvswitch) scale(gpu(node, index), gpu(node, 0), host(node), left);
}

double FabricGraph::Impl::rate_to(std::size_t from, std::size_t first, std::size_t last) const {
  double sum = 0;
  for (const auto& edge : graph.out_edge_list(from)) {
    if (edge.get_target() >= first && edge.get_target() < last) sum += edge.get_property().rate;
  }
  return sum;
}

void FabricGraph::Impl::scale(std::size_t from, std::size_t first, std::size_t last, double left) {
  for (auto& edge : graph.out_edge_list(from)) {
    if (edge.get_target() >= first && edge.get_target() < last) edge.get_property().rate *= left;
  }
}

FabricGraph::FabricGraph(const Cluster& cluster) : impl_(std::make_unique<Impl>(cluster)) {}
FabricGraph::~FabricGraph() = default;
FabricGraph::FabricGraph(FabricGraph&&) noexcept = default;

EdgeRates FabricGraph::rates() const {
  const Impl& g = *impl_;
  EdgeRates out;
  for (std::size_t node = 0; node < g.nodes; ++node) {
    std::vector<double> fed(g.nics, 0);
    const auto feed = [&](std::size_t vertex) {
      for (const auto& edge : g.graph.out_edge_list(vertex)) {
        const std::size_t to = edge.get_target();
        if (to >= g.nic(node, 0) && to < g.nic(node, g.nics))
          fed[to - g.nic(node, 0)] += edge.get_property().rate;
      }
    };
    for (std::size_t i = 0; i < g.gpus; ++i) {
      feed(g.gpu(node, i));
      out.gpu_nvlink.push_back(g.rate_to(g.gpu(node, i), g.gpu(node, 0), g.host(node)));
      out.gpu_host.push_back(g.rate_to(g.gpu(node, i), g.host(node), g.host(node) + 1));
    }
    feed(g.host(node));
    for (std::size_t i = 0; i < g.nics; ++i) {
      out.nic.push_back(std::min(fed[i], g.rate_to(g.nic(node, i), g.leaf(0, 0), g.spine())));
    }
  }
  for (std::size_t i = 0; g.pods > 1 && i < g.pods * g.leaves; ++i) {
    out.uplink.push_back(g.rate_to(g.leaf(0, i), g.spine(), g.spine() + 1));
  }
  return out;
}

std::size_t FabricGraph::vertices() const {
  return boost::num_vertices(impl_->graph);
}
std::size_t FabricGraph::edges() const {
  return boost::num_edges(impl_->graph);
}

BytesPerSec FabricGraph::bisection() const {
  const Impl& g = *impl_;
  FlowGraph flow(vertices() + 2);
  const std::size_t source = vertices(), sink = source + 1;
  Flow everything = 0;
  for (std::size_t from = 0; from < vertices(); ++from) {
    for (const auto& edge : g.graph.out_edge_list(from)) {
      const auto rate = static_cast<Flow>(std::llround(edge.get_property().rate));
      const bool in_mesh = edge.get_target() < g.leaf(0, 0) && edge.get_target() % g.node_size() < g.gpus;
      add_flow(flow, from, edge.get_target(), rate);
      if (!in_mesh) add_flow(flow, edge.get_target(), from, rate);
      everything += rate;
    }
  }
  for (std::size_t node = 0; node < g.nodes; ++node) {
    for (std::size_t i = 0; i < g.gpus; ++i) {
      const bool left = g.nodes > 1 ? node < g.nodes / 2 : i < g.gpus / 2;
      add_flow(flow, left ? source : g.gpu(node, i), left ? g.gpu(node, i) : sink, everything);
    }
  }
  const Flow most = boost::push_relabel_max_flow(flow, source, sink);
  return BytesPerSec(static_cast<double>(most));
}

}  // namespace tw
