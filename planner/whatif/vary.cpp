#include "planner/whatif/vary.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "costmodel/stragglers.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

[[noreturn]] void fail(std::string_view value, const std::string& why) {
  throw InputError("command line", "--vary", fmt::format("\"{}\": {}", printable(std::string(value)), why));
}

template <class Q>
Q quantity(std::string_view value) {
  const Parsed<Q> parsed = parse_unit<Q>(value);
  if (!parsed.value) fail(value, parsed.error);
  return *parsed.value;
}

template <class Q>
Q positive(std::string_view value) {
  const Q out = quantity<Q>(value);
  if (!(out > Q())) fail(value, "must be more than zero");
  return out;
}

std::int32_t count(std::string_view value, std::int32_t low, std::int32_t high) {
  return static_cast<std::int32_t>(whole_number("--vary", value, low, high));
}

constexpr std::int32_t kMostInNode = 1 << 20, kMostCount = 1 << 30;

// As many NICs for each GPU and as many GPUs under one set of leaves as before; jobs may take the powers of
// two below it of each domain, as they take 64 of an NVL72.
void nvlink_domain(Varied& point, std::string_view value) {
  Cluster& c = point.inputs.cluster;
  const std::int32_t gpus = count(value, 1, kMostInNode), pod = c.network.nodes_per_pod * c.node.gpus;
  if (std::int64_t{c.node.nics} * gpus % c.node.gpus != 0)
    fail(value, fmt::format("{} NICs for {} GPUs give no whole number for it", c.node.nics, c.node.gpus));
  c.node.nics = static_cast<std::int32_t>(std::int64_t{c.node.nics} * gpus / c.node.gpus);
  c.node.gpus = gpus;
  c.network.nodes_per_pod = std::max(1, pod / gpus);
  std::vector<std::int32_t> uses;
  for (std::int32_t used = 1; used < gpus; used *= 2) {
    if (std::int64_t{c.node.nics} * used % gpus == 0) uses.insert(uses.begin(), used);
  }
  c.node.also_used_as = uses;
}

void inter_bandwidth(Varied& point, std::string_view value) {
  NodeSpec& node = point.inputs.cluster.node;
  if (node.nics == 0) fail(value, "the cluster has no NICs");
  node.nic_rate = positive<BytesPerSec>(value) * (static_cast<double>(node.gpus) / node.nics);
}

void intra_bandwidth(Varied& point, std::string_view value) {
  if (!has_nvlink(point.inputs.cluster.node.link)) fail(value, "the cluster's nodes have no NVLink");
  point.inputs.cluster.device.nvlink_one_way = positive<BytesPerSec>(value);
}

void nics(Varied& point, std::string_view value) {
  NodeSpec& node = point.inputs.cluster.node;
  node.nics = count(value, 1, node.gpus);
}

void rails(Varied& point, std::string_view value) {
  if (value != "yes" && value != "no") fail(value, "legal: yes, no");
  point.inputs.cluster.network.rails = value == "yes";
}

// The GPU's own calibration where there is one.
void gpu(Varied& point, std::string_view value) {
  Cluster& c = point.inputs.cluster;
  c.gpu = std::string(value);
  c.device = load_gpu(value);
  const std::vector<std::string> known = scenario_names("calibrations");
  if (std::find(known.begin(), known.end(), value) != known.end()) c.calibration = c.gpu;
}

// Every step waits for it: a straggler beyond what GPUs of one kind differ by (derived).
void slow_node(Varied& point, std::string_view value) {
  const double slower = decimal("--vary", value, 0, 10);
  const double expected = expected_maximum(point.gpus);
  if (expected > 0) point.inputs.profile.gpu_speed_spread += slower / expected;
}

struct AllocatedNode {
  std::string node, leaf;
};
TW_DESCRIBE(AllocatedNode, node, leaf);
struct Allocation {
  std::vector<AllocatedNode> nodes;
  std::string source;
};
TW_DESCRIBE(Allocation, nodes, source);

// derived: the cost model knows equal pods, so all are taken to be as small as the smallest fragment.
void allocation(Varied& point, std::string_view value) {
  const auto list = load<Allocation>(std::string(value));
  std::map<std::string, std::int32_t> on_leaf;
  for (const AllocatedNode& each : list.nodes) ++on_leaf[each.leaf];
  const auto nodes = static_cast<std::int32_t>(list.nodes.size());
  if (nodes == 0) fail(value, "lists no nodes");
  point.gpus = nodes * point.inputs.cluster.node.gpus;
  const auto smaller = [](const auto& a, const auto& b) { return a.second < b.second; };
  point.inputs.cluster.network.nodes_per_pod =
      std::min_element(on_leaf.begin(), on_leaf.end(), smaller)->second;
}

constexpr Variable kVariables[] = {
    {"nvlink_domain", "GPUs of an NVLink domain, with as many NICs for each GPU", nvlink_domain},
    {"inter_bandwidth", "between nodes, of each GPU, one way: 50 GB/s", inter_bandwidth},
    {"intra_bandwidth", "NVLink of each GPU, one way: 450 GB/s", intra_bandwidth},
    {"nics", "of a node", nics},
    {"nic_rate", "of one NIC, one way: 400 Gb/s",
     [](Varied& p, std::string_view v) { p.inputs.cluster.node.nic_rate = positive<BytesPerSec>(v); }},
    {"latency", "of one network message without switches: 1.2 us",
     [](Varied& p, std::string_view v) { p.inputs.cluster.node.nic_latency = quantity<Seconds>(v); }},
    {"rails", "yes or no: NIC i of every node under leaf i", rails},
    {"oversubscription", "leaf down-links over up-links, 1 or more",
     [](Varied& p, std::string_view v) {
       p.inputs.cluster.network.oversubscription = decimal("--vary", v, 1, kMostInNode);
     }},
    {"hbm", "device memory: 141 GB",
     [](Varied& p, std::string_view v) { p.inputs.cluster.device.memory = positive<Bytes>(v); }},
    {"hbm_rate", "of device memory: 4.8 TB/s",
     [](Varied& p, std::string_view v) { p.inputs.cluster.device.memory_rate = positive<BytesPerSec>(v); },
     true},
    {"gpu", "a name of trainwright list gpus", gpu, true},
    {"lost_rails", "rails of which every NIC is lost",
     [](Varied& p, std::string_view v) { p.lost_rails = count(v, 0, kMostInNode); }},
    {"slow_node", "how much slower one node computes: 0.1 is a tenth", slow_node},
    {"allocation", "FILE of the nodes of a fragmented allocation and their leaves; gives the GPUs",
     allocation},
    {"gpus", "of the job", [](Varied& p, std::string_view v) { p.gpus = count(v, 1, kMostGpus); }},
    {"seq", "tokens per sequence",
     [](Varied& p, std::string_view v) { p.inputs.seq = count(v, 1, kMostCount); }},
    {"global_batch", "sequences per step",
     [](Varied& p, std::string_view v) { p.inputs.global_batch = count(v, 1, kMostCount); }},
    {"precision", "of matrix products",
     [](Varied& p, std::string_view v) { p.inputs.precision = parse_precision(std::string(v)); }},
    {"framework", "a name of trainwright list frameworks",
     [](Varied& p, std::string_view v) {
       p.inputs.profile = load_profile(v), p.inputs.any_framework = false;
     }},
    {"model", "a name of trainwright list models or a config.json",
     [](Varied& p, std::string_view v) { p.inputs.model = load_model(v); }},
};

void lose_rails(Varied& point) {
  Cluster& c = point.inputs.cluster;
  c = resized(c, point.gpus);
  if (point.lost_rails == 0) return;
  if (point.lost_rails >= c.node.nics)
    fail(std::to_string(point.lost_rails), fmt::format("a node has {} NICs and must keep one", c.node.nics));
  std::vector<Fault> faults;
  for (std::int32_t node = 0; node < c.nodes(); ++node) {
    for (std::int32_t nic = 0; nic < point.lost_rails; ++nic)
      faults.push_back({FaultKind::nic, node, nic, 1.0});
  }
  c.faults = faults;
}

}  // namespace

std::span<const Variable> variables() {
  return kVariables;
}

VaryAxis parse_vary(const std::string& text) {
  std::vector<std::string> known;
  for (const Variable& each : kVariables) known.emplace_back(each.name);
  const std::size_t equals = text.find('=');
  VaryAxis out;
  for (const Variable& each : kVariables) {
    if (equals != std::string::npos && each.name == text.substr(0, equals)) out.variable = &each;
  }
  if (!out.variable) fail(text, "must be NAME=VALUE,VALUE with NAME one of " + joined(known));
  for (std::size_t start = equals + 1;;) {
    const std::size_t comma = text.find(',', start);
    out.values.push_back(text.substr(start, comma - start));
    if (out.values.back().empty()) fail(text, "a value is empty");
    if (comma == std::string::npos) return out;
    start = comma + 1;
  }
}

Varied varied(const Inputs& inputs, std::int32_t gpus, const std::string& calibration,
              const std::vector<VaryAxis>& axes, const std::vector<std::size_t>& at) {
  Varied out{inputs, gpus, 0};
  bool recalibrates = false;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    axes[i].variable->apply(out, axes[i].values[at[i]]);
    recalibrates = recalibrates || axes[i].variable->recalibrates;
  }
  lose_rails(out);
  Inputs& in = out.inputs;
  if (recalibrates)
    in.calibration = load_calibration(calibration.empty() ? in.cluster.calibration : calibration, in.cluster);
  if (in.settings.headroom >= in.cluster.device.memory)
    throw InputError("command line", "--headroom",
                     "leaves nothing of " + to_string(in.cluster.device.memory));
  if (const std::string why = unpriced_because(in.precision, in.cluster.device, in.calibration); !why.empty())
    throw InputError("command line", "--vary", why);
  return out;
}

}  // namespace tw
