#include "planner/preflight/machine.hpp"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "planner/child.hpp"
#include "planner/confirm/confirm.hpp"
#include "planner/plan_file.hpp"
#include "reports/text.hpp"
#include "topology/check.hpp"

namespace tw::preflight {
namespace {

constexpr double kSlow = 1.25;  // over the calibrated time: links and kernels repeat within a few per cent
constexpr double kOccupiedGib = 1.5;  // of device memory in use before anything of ours runs
constexpr double kMemoryOff = 0.1;    // of the memory that the GPU's file gives, as nvidia-smi does
constexpr double kBusyGpu = 0.2, kBusyCores = 0.5;
constexpr std::int64_t kProbeSize = 8192;
constexpr double kProbeSeconds = 60;
constexpr std::string_view kLinkProbe = "256 MiB";

void fault(CheckResult& result, const std::string& text) {
  result.findings.push_back({Severity::fail, "machine", text});
}
void fine(CheckResult& result, const std::string& text) {
  result.findings.push_back({Severity::note, "machine", text});
}

std::string trimmed(std::string text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

double number_of(const std::string& text) {
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

struct Output {
  ChildResult ended;
  std::vector<std::string> lines;
};

Output output_of(const std::vector<std::string>& argv, double seconds) {
  Output out;
  ChildLimits limits;
  limits.whole = limits.silence = std::chrono::duration<double>(seconds);
  out.ended = run_child(argv, limits, [&](const std::string& line) { out.lines.push_back(line); });
  return out;
}

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

bool judge_gpus(const Cluster& cluster, CheckResult& result) {
  Output table;
  try {
    table = output_of({"nvidia-smi", "--query-gpu=index,name,memory.total,memory.used,utilization.gpu",
                       "--format=csv,noheader,nounits"},
                      kProbeSeconds);
  } catch (const InputError&) {
    fault(result, "nvidia-smi is not here: no GPU driver");
    return false;
  }
  const std::vector<GpuState> gpus = parse_gpus_table(table.lines);
  const auto wanted = static_cast<std::size_t>(cluster.gpus_per_node());
  if (gpus.size() < wanted)
    fault(result, fmt::format("GPU missing: this host has {}, the plan needs {}", gpus.size(), wanted));
  for (const GpuState& gpu : gpus) {
    if (!same_kind(cluster.gpu, gpu.name))
      fault(result, fmt::format("foreign calibration: GPU {} is {}, the plan is for {}", gpu.index,
                                printable(gpu.name), cluster.gpu));
    else if (const double whole = in_gib(cluster.device.memory);
             std::abs(gpu.total_gib - whole) > kMemoryOff * whole)
      fault(result, fmt::format("foreign calibration: GPU {} has {:.1f} GiB, the plan's has {:.1f} GiB",
                                gpu.index, gpu.total_gib, whole));
    if (gpu.used_gib > kOccupiedGib)
      fault(result, fmt::format("GPU {} is occupied: {:.1f} GiB in use", gpu.index, gpu.used_gib));
    else if (gpu.busy > kBusyGpu)
      fault(result, fmt::format("GPU {} is occupied: {:.0f}% busy", gpu.index, 100 * gpu.busy));
  }
  return !gpus.empty();
}

bool judge_ranks(const MachineAsk& ask, std::int32_t ranks, CheckResult& result) {
  std::vector<std::string> argv = launcher(ranks, ask.launcher);
  for (const char* word : {"sh", "-c", "echo trainwright-rank $(hostname)"}) argv.emplace_back(word);
  const Output said = output_of(argv, kProbeSeconds);
  std::int32_t started = 0;
  std::set<std::string> hosts;
  for (const std::string& line : said.lines) {
    const std::size_t at = line.find("trainwright-rank");
    if (at == std::string::npos) continue;
    ++started;
    hosts.insert(trimmed(line.substr(at + 16)));
  }
  if (started != ranks)
    fault(result, fmt::format("rank count: the launcher starts {} ranks, the plan has {}", started, ranks));
  else
    fine(result, fmt::format("{} ranks on {} hosts", started, hosts.size()));
  return started == ranks;
}

struct Probed {
  std::string identity;
  double seconds = 0, clock_mhz = 0;  // 0: it did not answer
};

Probed probed(const std::vector<std::string>& launch, const std::string& one, const std::string& more) {
  const std::string program = sibling("trainwright-calibrate-gpu");
  std::string command = fmt::format("printf '%s\\n' '{}' quit | ", one);
  for (const std::string& word : launch) command += "'" + word + "' ";
  command += "'" + program + "' --serve --quiet" + more;
  const Output said = output_of({"sh", "-c", command}, kProbeSeconds);
  Probed out;
  for (const std::string& line : said.lines) {
    if (!line.starts_with("{")) continue;
    const JsonView node = parse_json(line, "probe");
    if (const auto id = node.find("identity"); id && id->is_string()) out.identity = id->string();
    const auto us = node.find("us");
    if (!us || !us->is_array() || us->size() == 0) continue;
    std::vector<double> samples;
    for (std::size_t i = 0; i < us->size(); ++i) samples.push_back((*us)[i].number());
    std::nth_element(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2),
                     samples.end());
    constexpr double kMicro = 1e-6;
    out.seconds = kMicro * samples[samples.size() / 2];
    if (const auto clock = node.find("clock_mhz"); clock && clock->is_number())
      out.clock_mhz = clock->number();
  }
  return out;
}

void compare(const std::string& what, const Probed& measured, double expected, CheckResult& result) {
  if (measured.seconds == 0) return fault(result, what + " does not answer");
  const double ratio = measured.seconds / expected;
  const std::string text = fmt::format("{}: {:.2f} times the calibrated time ({} instead of {})", what, ratio,
                                       seconds_text(measured.seconds), seconds_text(expected));
  if (ratio > kSlow)
    fault(result, text + (measured.clock_mhz > 0 ? fmt::format(", at {:.0f} MHz", measured.clock_mhz) : ""));
  else
    fine(result, text);
}

void probe_gpus(const Priced& priced, CheckResult& result) {
  const Calibration bursts = priced.inputs.calibration.in_bursts();
  const double expected = bursts.gemm({kProbeSize, kProbeSize, kProbeSize}).time.value;
  std::map<std::string, std::int32_t> owner;
  for (std::int32_t gpu = 0; gpu < priced.problem.cluster.gpus_per_node(); ++gpu) {
    const std::string one = fmt::format("gemm {} {} {}", kProbeSize, kProbeSize, kProbeSize);
    const Probed measured = probed({}, one, fmt::format(" --device {}", gpu));
    const auto [known, fresh] = owner.emplace(measured.identity, gpu);
    if (!fresh && !measured.identity.empty()) {
      fault(result,
            fmt::format(
                "GPU missing: CUDA shows no GPU {} of its own (the same as GPU {}; CUDA_VISIBLE_DEVICES?)",
                gpu, known->second));
      continue;
    }
    compare(fmt::format("GPU {}, a product of {}", gpu, kProbeSize), measured, expected, result);
  }
}

void probe_links(const MachineAsk& ask, const Priced& priced, CheckResult& result) {
  const std::int32_t ranks = priced.problem.cluster.gpus_per_node();
  if (ranks < 2) return;
  const Cluster& cluster = priced.problem.cluster;
  const Bytes bytes = *parse_unit<Bytes>(kLinkProbe).value;
  const Fabric fabric(resized(cluster, ranks));
  const GroupAxis axis{ranks, 1};
  const GroupLinks links = fabric.links(std::span(&axis, 1));
  const double expected =
      priced.inputs.calibration.collective(Collective::all_reduce, links, bytes).time.value;
  const Probed measured =
      probed(launcher(ranks, ask.launcher), fmt::format("all_reduce {} {}", bytes.count, ranks), "");
  compare(fmt::format("link among {} GPUs, an all-reduce of {}", ranks, kLinkProbe), measured, expected,
          result);
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

std::int32_t own_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<std::int32_t>(std::thread::hardware_concurrency());
}

void short_run(const MachineAsk& ask, CheckResult& result) {
  ConfirmSettings settings;
  settings.plan = ask.plan, settings.top = 1, settings.steps = 5, settings.launcher = ask.launcher;
  settings.patience = kProbeSeconds;
  try {
    const Confirmed run = confirm(settings, [](const std::string&) {});
    const ConfirmedLayout& first = run.layouts.front();
    if (!first.measured) return fault(result, "the short run failed: " + first.failed);
    const double high = load_plan(ask.plan).layouts.front().high.value, took = first.measured->median_s;
    const std::string text =
        fmt::format("a short training run: {}; predicted {}, 80% band up to {}", seconds_text(took),
                    seconds_text(first.predicted.cost.step_seconds), seconds_text(high));
    took > high ? fault(result, text) : fine(result, text);
  } catch (const InputError& error) {
    fault(result, std::string("the short run is refused: ") + error.what());
  }
}

void judge_cpus(const MachineAsk& ask, std::int32_t ranks, bool started, CheckResult& result) {
  const double busy = busy_cores();
  if (busy > kBusyCores) fault(result, fmt::format("occupied: other processes keep {:.1f} cores busy", busy));
  const std::int32_t cores = own_cores();
  if (ranks > cores) fault(result, fmt::format("cores missing: {} ranks, {} cores", ranks, cores));
  if (started) short_run(ask, result);
}

}  // namespace

bool same_kind(const std::string& gpu, const std::string& device) {
  const std::vector<std::string> words = words_of(device);
  for (const std::string& part : words_of(gpu)) {
    if (std::find(words.begin(), words.end(), part) == words.end()) return false;
    if (part.find_first_of("0123456789") != std::string::npos) break;  // then comes the form: sxm, 80g
  }
  return true;
}

std::vector<GpuState> parse_gpus_table(const std::vector<std::string>& lines) {
  std::vector<GpuState> out;
  for (const std::string& line : lines) {
    std::vector<std::string> cells;
    std::istringstream in(line);
    for (std::string cell; std::getline(in, cell, ',');) cells.push_back(trimmed(cell));
    if (cells.size() != 5) continue;
    const auto gib = [](const std::string& mib) {
      return number_of(mib) * in_gib(*parse_unit<Bytes>("1 MiB").value);
    };
    out.push_back({static_cast<std::int32_t>(number_of(cells[0])), cells[1], gib(cells[2]), gib(cells[3]),
                   number_of(cells[4]) / 100});
  }
  return out;
}

void judge_machine(const MachineAsk& ask, CheckResult& result) {
  const PlanFile plan = load_plan(ask.plan);
  const Priced priced(load_inputs(asked_of(plan)), plan.gpus);
  const bool ranks = judge_ranks(ask, plan.gpus, result);
  if (priced.problem.cluster.device.architecture == "cpu") return judge_cpus(ask, plan.gpus, ranks, result);
  if (!judge_gpus(priced.problem.cluster, result)) return;
  probe_gpus(priced, result);
  if (ranks) probe_links(ask, priced, result);
}

}  // namespace tw::preflight
