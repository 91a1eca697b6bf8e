#include "planner/preflight/machine.hpp"

#include <fmt/format.h>

#include <array>
#include <fstream>
#include <thread>

#include "planner/child.hpp"
#include "planner/plan_file.hpp"
#include "planner/preflight/placement.hpp"
#include "reports/text.hpp"
#include "topology/check.hpp"

namespace tw::preflight {
namespace {

constexpr double kBusyCores = 0.5;

void fault(CheckResult& result, const std::string& text) {
  result.findings.push_back({Severity::fail, "machine", text});
}
void fine(CheckResult& result, const std::string& text) {
  result.findings.push_back({Severity::note, "machine", text});
}

std::vector<HostState> hosts_of(const MachineAsk& ask, std::int32_t ranks) {
  std::vector<std::string> argv = launcher(ranks, ask.launcher);
  for (const std::string& word : {std::string("sh"), std::string("-c"), host_script()}) argv.push_back(word);
  return parse_hosts(output_of(argv).lines);
}

// Whether every rank started, as many on each host as the plan's nodes have.
bool judge_ranks(const std::vector<HostState>& hosts, const Cluster& cluster, CheckResult& result) {
  std::size_t started = 0;
  for (const HostState& host : hosts) started += host.ranks.size();
  const auto wanted = static_cast<std::size_t>(cluster.gpus);
  if (started != wanted) {
    fault(result, fmt::format("rank count: the launcher starts {} ranks, the plan has {}", started, wanted));
    return false;
  }
  fine(result, fmt::format("{} ranks on {} hosts", started, hosts.size()));
  const auto of_host = static_cast<std::size_t>(cluster.gpus_per_node());
  for (const HostState& host : hosts) {
    if (host.ranks.size() != of_host)
      fault(result, fmt::format("rank count: host {} has {} ranks, a node of the plan {}",
                                printable(host.name), host.ranks.size(), of_host));
  }
  return true;
}

// Cores that other processes keep busy, over half a second.
double busy_cores() {
  const auto sample = [] {
    std::ifstream in("/proc/stat");
    std::string cpu;
    std::array<double, 8> values{};
    in >> cpu;
    for (double& each : values) in >> each;
    return values;  // user, nice, system, idle, iowait, irq, softirq, steal
  };
  const auto before = sample();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  const auto after = sample();
  double all = 0, idle = 0;
  for (std::size_t i = 0; i < after.size(); ++i) {
    all += after[i] - before[i];
    if (i == 3 || i == 4) idle += after[i] - before[i];
  }
  return all > 0 ? (1 - idle / all) * std::max(1u, std::thread::hardware_concurrency()) : 0;
}

std::string speaker(const std::vector<HostState>& hosts, const HostState& host) {
  return hosts.size() > 1 ? "host " + printable(host.name) + ": " : std::string();
}

void judge_cpus(const MachineAsk& ask, const std::vector<HostState>& hosts, bool started,
                const Priced& priced, CheckResult& result) {
  const double busy = busy_cores();
  bool cores = busy <= kBusyCores;  // to themselves
  if (!cores) fault(result, fmt::format("occupied: other processes keep {:.1f} cores busy", busy));
  for (const HostState& host : hosts) cores = judge_cores(host, speaker(hosts, host), result) && cores;
  if (!started) return;
  if (cores)
    probe_exchanges(ask, priced, result);
  else
    fine(result, "exchanges and ranks' speed were not probed: they would show the cores that are not free");
  short_run(ask, result);
}

void judge_gpus(const MachineAsk& ask, const std::vector<HostState>& hosts, bool started,
                const Priced& priced, CheckResult& result) {
  bool drivers = !hosts.empty();
  for (const HostState& host : hosts) {
    judge_gpu_host(priced.problem.cluster, host, speaker(hosts, host), result);
    drivers = drivers && !host.gpus.empty();
  }
  if (!drivers) return;
  try {
    probe_gpus(priced, result);
    if (started) probe_links(ask, priced, result);
  } catch (const InputError& error) {  // the program that measures was not built here
    result.findings.push_back(
        {Severity::warn, "machine", std::string("GPUs and links were not probed: ") + error.what()});
  }
}

}  // namespace

void judge_machine(const MachineAsk& ask, CheckResult& result) {
  const PlanFile plan = load_plan(ask.plan);
  const Priced priced(load_inputs(asked_of(plan)), plan.gpus);
  const std::vector<HostState> hosts = hosts_of(ask, plan.gpus);
  const bool started = judge_ranks(hosts, priced.problem.cluster, result);
  const bool cpus = priced.problem.cluster.device.architecture == "cpu";
  cpus ? judge_cpus(ask, hosts, started, priced, result) : judge_gpus(ask, hosts, started, priced, result);
}

}  // namespace tw::preflight
