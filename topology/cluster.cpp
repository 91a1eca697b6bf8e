#include "topology/cluster.hpp"

#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>
#include <tuple>

#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

constexpr std::int32_t kMostPlanes = 64;
constexpr std::int32_t kLargestMesh = 16;  // a mesh has an edge for each pair of GPUs

// Refuses with the cluster's file and a path inside it.
struct Checker {
  std::string file;
  void require(bool good, std::string_view path, const std::string& message) const {
    if (!good) throw InputError(file, path, message);
  }
};

std::string text(std::int64_t value) {
  return std::to_string(value);
}
std::string range(std::int64_t low, std::int64_t high) {
  return text(low) + " to " + text(high);
}

void check_uses(const NodeSpec& node, const Checker& check) {
  for (const std::int32_t used : *node.also_used_as) {
    check.require(used > 0 && used < node.gpus, "node.also_used_as",
                  text(used) + " is outside 1 to " + text(node.gpus - 1) + ", fewer than node.gpus");
    check.require(std::int64_t{node.nics} * used % node.gpus == 0, "node.also_used_as",
                  text(used) + " of " + text(node.gpus) + " GPUs have no whole number of the " +
                      text(node.nics) + " NICs");
  }
}

void check_node(const Cluster& cluster, const Checker& check) {
  const NodeSpec& node = cluster.node;
  check.require(node.gpus > 0 && node.gpus <= kMostGpus, "node.gpus",
                text(node.gpus) + "; must be " + range(1, kMostGpus));
  check.require(node.switch_planes > 0 && node.switch_planes <= kMostPlanes, "node.switch_planes",
                text(node.switch_planes) + "; must be " + range(1, kMostPlanes));
  check.require(node.nics >= 0 && node.nics <= node.gpus, "node.nics",
                text(node.nics) + "; must be " + range(0, node.gpus) + ", at most one per GPU");
  check.require(
      node.link != NodeLink::nvlink_mesh || node.gpus <= kLargestMesh, "node.gpus",
      text(node.gpus) + "; an nvlink-mesh joins at most " + text(kLargestMesh) + " GPUs; use nvswitch");
  check.require(!has_nvlink(node.link) || cluster.device.nvlink_one_way.value > 0, "node.link",
                "needs a GPU with NVLink, which " + printable(cluster.gpu) + " has not; legal: pcie, host");
  check_uses(node, check);
}

void check_network(const Cluster& cluster, const Checker& check) {
  const NetworkSpec& network = cluster.network;
  check.require(network.nodes_per_pod > 0, "network.nodes_per_pod",
                text(network.nodes_per_pod) + "; must be at least 1");
  check.require(std::isfinite(network.oversubscription) && network.oversubscription >= 1,
                "network.oversubscription", "must be at least 1 (1: non-blocking)");
  if (cluster.nodes() == 1) return;
  const std::string nodes = text(cluster.nodes()) + " nodes";
  check.require(cluster.node.nics > 0, "node.nics", "0 with " + nodes + "; must be at least 1");
  check.require(cluster.node.nic_rate.value > 0, "node.nic_rate",
                "zero with " + nodes + "; must be more than zero");
  check.require(!network.rails || has_nvlink(cluster.node.link), "network.rails",
                "true needs NVLink in the node, which carries traffic between rails; use false");
}

using FaultKey = std::tuple<FaultKind, std::int32_t, std::int32_t>;
using SharesLost = std::map<FaultKey, double>;

// How many (nodes or pods, edges in each) a fault of this kind may name.
std::pair<std::int32_t, std::int32_t> fault_range(const Cluster& cluster, FaultKind kind) {
  if (kind == FaultKind::nic) return {cluster.nodes(), cluster.node.nics};
  if (kind == FaultKind::leaf_uplink) return {cluster.pods(), cluster.leaves_per_pod()};
  return {cluster.nodes(), has_nvlink(cluster.node.link) ? cluster.gpus_per_node() : 0};
}

void check_fault(const Cluster& cluster, const Fault& fault, const std::string& path, const Checker& check) {
  const auto [nodes, edges] = fault_range(cluster, fault.kind);
  check.require(edges > 0, path + ".kind", "this cluster has no such edge");
  check.require(fault.node >= 0 && fault.node < nodes, path + ".node",
                text(fault.node) + "; must be " + range(0, nodes - 1));
  check.require(fault.index >= 0 && fault.index < edges, path + ".index",
                text(fault.index) + "; must be " + range(0, edges - 1));
  check.require(*fault.share > 0 && *fault.share <= 1, path + ".share", "must be more than 0 and at most 1");
}

bool is_gone(const SharesLost& lost, FaultKind kind, std::int32_t node, std::int32_t index) {
  const auto found = lost.find({kind, node, index});
  return found != lost.end() && found->second >= 1;
}

// Whether some NIC of the node still reaches the other nodes, the spine included.
bool is_connected(const Cluster& cluster, const SharesLost& lost, std::int32_t node) {
  const std::int32_t pod = node / cluster.network.nodes_per_pod;
  for (std::int32_t nic = 0; nic < cluster.node.nics; ++nic) {
    const std::int32_t leaf = cluster.network.rails ? nic : 0;
    const bool cut_off = cluster.pods() > 1 && is_gone(lost, FaultKind::leaf_uplink, pod, leaf);
    if (!cut_off && !is_gone(lost, FaultKind::nic, node, nic)) return true;
  }
  return false;
}

void check_faults(const Cluster& cluster, const Checker& check) {
  SharesLost lost;
  for (std::size_t i = 0; i < cluster.faults->size(); ++i) {
    const Fault& fault = (*cluster.faults)[i];
    const std::string path = "faults[" + std::to_string(i) + "]";
    check_fault(cluster, fault, path, check);
    const bool fresh = lost.emplace(FaultKey{fault.kind, fault.node, fault.index}, *fault.share).second;
    check.require(fresh, path, "the same edge is listed twice; list it once with the whole share");
  }
  if (cluster.nodes() == 1) return;
  for (const Fault& fault : *cluster.faults) {
    if (fault.kind == FaultKind::nvswitch) continue;
    const bool leaf = fault.kind == FaultKind::leaf_uplink;
    const std::int32_t node = leaf ? fault.node * cluster.network.nodes_per_pod : fault.node;
    check.require(is_connected(cluster, lost, node), "faults",
                  "node " + text(node) + " is cut off from the others; leave it one NIC with an uplink");
  }
}

// The GPU counts a job may take of each node, largest first.
std::vector<std::int32_t> uses_of(const NodeSpec& node) {
  std::vector<std::int32_t> uses = *node.also_used_as;
  uses.push_back(node.gpus);
  std::sort(uses.begin(), uses.end(), std::greater<>());
  uses.erase(std::unique(uses.begin(), uses.end()), uses.end());
  return uses;
}

std::string legal_sizes(const std::vector<std::int32_t>& uses) {
  std::vector<std::string> names;
  for (const std::int32_t used : uses) names.push_back(text(used));
  return "legal: up to " + text(uses.front()) + ", or a multiple of " + joined(names);
}

void use_gpus_of_each_node(NodeSpec& node, std::int32_t used, std::vector<std::int32_t> uses) {
  node.nics = static_cast<std::int32_t>(std::int64_t{node.nics} * used / node.gpus);
  node.gpus = used;
  std::erase(uses, used);
  node.also_used_as = std::move(uses);
}

Cluster resized_in(const Cluster& cluster, std::int64_t gpus, const Checker& check) {
  check.require(gpus > 0 && gpus <= kMostGpus, "gpus", text(gpus) + "; must be " + range(1, kMostGpus));
  const std::vector<std::int32_t> uses = uses_of(cluster.node);
  const auto fits = [&](std::int32_t used) { return gpus % used == 0; };
  auto used = gpus < uses.front() ? uses.begin() : std::find_if(uses.begin(), uses.end(), fits);
  check.require(used != uses.end(), "gpus", text(gpus) + " GPUs are not whole nodes; " + legal_sizes(uses));
  Cluster out = cluster;
  out.gpus = static_cast<std::int32_t>(gpus);
  use_gpus_of_each_node(out.node, *used, uses);
  check_network(out, check);
  check_faults(out, check);
  return out;
}

bool is_path(std::string_view name) {
  return name.find('/') != std::string_view::npos || name.ends_with(".json");
}

std::string beside(const std::string& file, const std::string& name) {
  const std::filesystem::path path(name);
  if (!is_path(name) || path.is_absolute()) return name;
  return (std::filesystem::path(file).parent_path() / path).string();
}

struct Spec {
  std::string name;
  std::optional<std::int64_t> gpus;
};

Spec parse_spec(std::string_view spec) {
  const std::size_t colon = spec.rfind(':');
  const std::size_t slash = spec.rfind('/');
  const bool in_folder = slash != std::string_view::npos && colon < slash;
  if (colon == std::string_view::npos || in_folder || spec.ends_with(".json")) return {std::string(spec), {}};
  const std::string_view digits = spec.substr(colon + 1);
  std::int64_t gpus = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), gpus);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) {
    throw InputError(printable(spec), "", "after \":\" must come the number of GPUs, like \"h100-sxm:64\"");
  }
  return {std::string(spec.substr(0, colon)), gpus};
}

Gpu load_device(const std::string& file, const std::string& gpu) {
  const std::string name = beside(file, gpu);
  if (is_path(name)) return load_gpu(name);
  const std::vector<std::string> known = scenario_names("gpus");
  if (std::find(known.begin(), known.end(), name) == known.end()) {
    throw InputError(file, "gpu", "no GPU named \"" + printable(name) + "\"; known: " + joined(known));
  }
  return load_gpu(name);
}

}  // namespace

Cluster load_cluster(std::string_view spec) {
  const Spec wanted = parse_spec(spec);
  const std::string file = scenario_path("clusters", wanted.name);
  Cluster cluster = load<Cluster>(file);
  cluster.name = std::filesystem::path(wanted.name).stem().string();
  cluster.device = load_device(file, cluster.gpu);
  const Checker check{file};
  check.require(!cluster.source.empty(), "source", "must say where the numbers come from");
  check_node(cluster, check);
  cluster = resized_in(cluster, cluster.gpus, check);
  return wanted.gpus ? resized_in(cluster, *wanted.gpus, Checker{std::string(spec)}) : cluster;
}

Cluster resized(const Cluster& cluster, std::int32_t gpus) {
  return resized_in(cluster, gpus, Checker{cluster.name});
}

}  // namespace tw
