#include "planner/preflight/placement.hpp"

#include <fmt/format.h>
#include <hwloc.h>

#include <algorithm>
#include <cmath>

#include "reports/text.hpp"
#include "topology/check.hpp"

namespace tw::preflight {
namespace {

constexpr double kOccupiedGib = 1.5;  // of device memory in use before anything of ours runs
constexpr double kMemoryOff = 0.1;    // of the memory that the GPU's file gives, as nvidia-smi does
constexpr double kBusyGpu = 0.2;
constexpr double kWholeRate = 0.98;  // links state their rate with its coding, a little above the usable one

class Placement {
 public:
  Placement(const Cluster& cluster, const HostState& host, std::string who, CheckResult& result)
      : cluster_(cluster),
        host_(host),
        who_(std::move(who)),
        wanted_(static_cast<std::size_t>(cluster.gpus_per_node())),
        result_(result) {}

  void judge() {
    if (host_.gpus.empty()) return fail("no GPU driver: nvidia-smi says " + said());
    if (host_.gpus.size() < wanted_)
      fail(fmt::format("GPU missing: this host has {}, the plan needs {}", host_.gpus.size(), wanted_));
    for (const GpuState& gpu : host_.gpus) judge_gpu(gpu);
    if (has_nvlink(cluster_.node.link)) judge_nvlink();
    if (cluster_.nodes() > 1) judge_nics();
    judge_cores_of_ranks();
  }

 private:
  void fail(const std::string& text) { result_.findings.push_back({Severity::fail, "machine", who_ + text}); }
  void warn(const std::string& text) { result_.findings.push_back({Severity::warn, "machine", who_ + text}); }
  std::string said() const {
    return host_.driver_says.empty() ? "nothing" : "\"" + printable(host_.driver_says, 80) + "\"";
  }
  std::size_t seen() const { return std::min(wanted_, host_.links.gpus.size()); }

  void judge_gpu(const GpuState& gpu) {
    const double whole = in_gib(cluster_.device.memory);
    if (!same_kind(cluster_.gpu, gpu.name)) {
      fail(fmt::format("foreign calibration: GPU {} is {}, the plan is for {}", gpu.index,
                       printable(gpu.name), cluster_.gpu));
    } else if (std::abs(gpu.total_gib - whole) > kMemoryOff * whole) {
      fail(fmt::format("foreign calibration: GPU {} has {:.1f} GiB, the plan's has {:.1f} GiB", gpu.index,
                       gpu.total_gib, whole));
    }
    if (gpu.used_gib > kOccupiedGib)
      fail(fmt::format("GPU {} is occupied: {:.1f} GiB in use", gpu.index, gpu.used_gib));
    else if (gpu.busy > kBusyGpu)
      fail(fmt::format("GPU {} is occupied: {:.0f}% busy", gpu.index, 100 * gpu.busy));
    if (gpu.lanes > 0 && gpu.lanes < gpu.most_lanes)
      warn(
          fmt::format("GPU {}'s PCIe link runs on {} of its {} lanes", gpu.index, gpu.lanes, gpu.most_lanes));
  }

  void judge_nvlink() {
    std::vector<std::string> apart;  // pairs without
    const std::size_t n = seen();
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = i + 1; j < n && j < host_.links.gpus[i].size(); ++j) {
        const std::string& link = host_.links.gpus[i][j];
        if (!link.starts_with("NV")) apart.push_back(fmt::format("{} and {} ({})", i, j, printable(link)));
      }
    }
    if (!apart.empty() && apart.size() == n * (n - 1) / 2 && n > 2)
      fail(fmt::format("no NVLink between any of {} GPUs (nvidia-smi topo: GPUs {})", n, apart.front()));
    else if (!apart.empty())
      fail(fmt::format("no NVLink between GPUs {}", fmt::join(apart, "; ")));
    const double whole = in_gbps(cluster_.device.nvlink_one_way);
    for (std::size_t gpu = 0; gpu < std::min(wanted_, host_.nvlink.size()) && wanted_ > 1; ++gpu) {
      const NvlinkState& state = host_.nvlink[gpu];
      if (in_gbps(state.rate) < kWholeRate * whole)
        fail(fmt::format("GPU {}: NVLink has {} of {} links up, {:.0f} GB/s; the plan's has {:.0f} GB/s", gpu,
                         state.active, state.active + state.inactive, in_gbps(state.rate), whole));
    }
  }

  void judge_nics() {
    const NodeSpec& node = cluster_.node;
    std::string weak;
    std::int32_t good = 0;
    for (const NicState& nic : host_.nics) {
      const bool fast = in_gbps(nic.rate) >= kWholeRate * in_gbps(node.nic_rate);
      if (nic.up && fast) ++good;
      if (nic.up && fast) continue;
      weak += fmt::format("{}{} {}", weak.empty() ? "" : ", ", printable(nic.device),
                          nic.up ? fmt::format("runs at {:.0f} GB/s", in_gbps(nic.rate)) : "is down");
    }
    if (good < node.nics)
      fail(fmt::format("NIC missing: {} of {} with {:.0f} GB/s are up{}", good, node.nics,
                       in_gbps(node.nic_rate), weak.empty() ? "" : " (" + weak + ")"));
    for (std::size_t gpu = 0; gpu < std::min(wanted_, host_.links.nics.size()); ++gpu) judge_distance(gpu);
  }

  void judge_distance(std::size_t gpu) {
    constexpr std::array<std::string_view, 5> kDistances = {"PIX", "PXB", "PHB", "NODE",
                                                            "SYS"};  // near first
    constexpr std::size_t kWithoutCpu = 2;
    std::size_t nearest = kDistances.size();
    std::string name;
    const std::vector<std::string>& row = host_.links.nics[gpu];
    for (std::size_t nic = 0; nic < row.size(); ++nic) {
      const auto at = std::find(kDistances.begin(), kDistances.end(), row[nic]);
      const auto distance = static_cast<std::size_t>(at - kDistances.begin());
      if (distance >= nearest) continue;
      nearest = distance;
      name = nic < host_.links.nic_names.size() ? host_.links.nic_names[nic] : std::to_string(nic);
    }
    if (nearest >= kWithoutCpu && nearest < kDistances.size())
      warn(fmt::format("GPU {}'s nearest NIC, {}, is reached through the CPU ({})", gpu, printable(name),
                       kDistances[nearest]));
  }

  void judge_cores_of_ranks() {
    for (const RankState& rank : host_.ranks) {
      const auto gpu = static_cast<std::size_t>(rank.local);
      if (gpu >= host_.links.cores.size()) continue;
      const std::string& near = host_.links.cores[gpu];
      if (near.empty() || rank.cores.empty() || cores_in({near}) == 0) continue;
      if (!cores_meet(near, rank.cores))
        warn(fmt::format("rank {} may use cores {} alone; its GPU {} is near cores {}", rank.rank,
                         printable(rank.cores), gpu, printable(near)));
    }
  }

  const Cluster& cluster_;
  const HostState& host_;
  std::string who_;
  std::size_t wanted_;
  CheckResult& result_;
};

// A set of cores as hwloc holds it; empty where a list cannot be read.
class Cores {
 public:
  Cores() : bits_(hwloc_bitmap_alloc()) { TW_CHECK(bits_ != nullptr); }
  explicit Cores(const std::string& list) : Cores() {
    if (hwloc_bitmap_list_sscanf(bits_, list.c_str()) != 0 || hwloc_bitmap_weight(bits_) < 0)
      hwloc_bitmap_zero(bits_);
  }
  ~Cores() { hwloc_bitmap_free(bits_); }
  Cores(const Cores&) = delete;
  Cores& operator=(const Cores&) = delete;
  void add(const Cores& other) { hwloc_bitmap_or(bits_, bits_, other.bits_); }
  bool meets(const Cores& other) const { return hwloc_bitmap_intersects(bits_, other.bits_) != 0; }
  std::int32_t count() const { return hwloc_bitmap_weight(bits_); }

 private:
  hwloc_bitmap_t bits_;
};

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> out(1);
  for (const char c : text) {
    if (c == ' ' || c == '-')
      out.emplace_back();
    else
      out.back() += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return out;
}

}  // namespace

void judge_gpu_host(const Cluster& cluster, const HostState& host, const std::string& who,
                    CheckResult& result) {
  Placement(cluster, host, who, result).judge();
}

bool judge_cores(const HostState& host, const std::string& who, CheckResult& result) {
  std::vector<std::string> lists;
  for (const RankState& rank : host.ranks) lists.push_back(rank.cores);
  const std::int32_t cores = cores_in(lists), ranks = static_cast<std::int32_t>(host.ranks.size());
  if (cores == 0 || ranks <= cores) return true;
  result.findings.push_back(
      {Severity::fail, "machine", fmt::format("{}cores missing: {} ranks, {} cores", who, ranks, cores)});
  return false;
}

bool same_kind(const std::string& gpu, const std::string& device) {
  const std::vector<std::string> words = words_of(device);
  for (const std::string& part : words_of(gpu)) {
    if (std::find(words.begin(), words.end(), part) == words.end()) return false;
    if (part.find_first_of("0123456789") != std::string::npos) break;  // then comes the form: sxm, 80g
  }
  return true;
}

std::int32_t cores_in(const std::vector<std::string>& lists) {
  Cores all;
  for (const std::string& list : lists) all.add(Cores(list));
  return all.count();
}

bool cores_meet(const std::string& one, const std::string& other) {
  return Cores(one).meets(Cores(other));
}

}  // namespace tw::preflight
