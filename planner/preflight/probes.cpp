#include "planner/preflight/probes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>

#include "costmodel/quick_rows.hpp"
#include "planner/child.hpp"
#include "planner/confirm/confirm.hpp"
#include "planner/plan_file.hpp"
#include "reports/text.hpp"
#include "topology/check.hpp"

namespace tw::preflight {
namespace {

constexpr double kSlow = 1.25;  // over the calibrated time: links and kernels repeat within a few per cent
constexpr double kSlowExchange = 1.4;  // of CPU ranks, a geometric mean over kinds
constexpr double kSlowRank = 1.5;      // over the fastest rank
constexpr std::int64_t kProbeSize = 8192;
constexpr double kProbeSeconds = 60;
constexpr std::string_view kLinkProbe = "256 MiB";

void fault(CheckResult& result, const std::string& text) {
  result.findings.push_back({Severity::fail, "machine", text});
}
void fine(CheckResult& result, const std::string& text) {
  result.findings.push_back({Severity::note, "machine", text});
}

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

struct Probed {
  std::string identity;
  double seconds = 0, clock_mhz = 0;  // 0: it did not answer
  std::vector<std::string> transports;
};

void read_row(const JsonView& node, Probed& out) {
  if (const auto id = node.find("identity"); id && id->is_string()) out.identity = id->string();
  const auto us = node.find("us");
  if (!us || !us->is_array() || us->size() == 0) return;
  std::vector<double> samples;
  for (std::size_t i = 0; i < us->size(); ++i) samples.push_back((*us)[i].number());
  constexpr double kMicro = 1e-6;
  out.seconds = kMicro * median_of(samples);
  if (const auto clock = node.find("clock_mhz"); clock && clock->is_number()) out.clock_mhz = clock->number();
}

Probed probed(const std::vector<std::string>& launch, const std::string& one, const std::string& more) {
  std::string command = fmt::format("printf '%s\\n' '{}' quit | ", one);
  for (const std::string& word : launch) command += "'" + word + "' ";
  command += "env NCCL_DEBUG=INFO NCCL_DEBUG_SUBSYS=INIT,GRAPH,P2P,SHM,NET '" +
             sibling("trainwright-calibrate-gpu") + "' --serve --quiet" + more;
  const Output said = output_of({"sh", "-c", command});
  Probed out;
  out.transports = transports_of(said.lines);
  for (const std::string& line : said.lines) {
    if (line.starts_with("{")) read_row(parse_json(line, "probe"), out);
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

GroupLinks links_of(const Cluster& cluster, std::int32_t ranks) {
  const Fabric fabric(resized(cluster, ranks));
  const GroupAxis axis{ranks, 1};
  return fabric.links(std::span(&axis, 1));
}

bool has_transport(const Probed& measured, std::string_view name) {
  return std::any_of(measured.transports.begin(), measured.transports.end(),
                     [&](const std::string& each) { return each.starts_with(name); });
}

void probe_link(const MachineAsk& ask, const Priced& priced, std::int32_t ranks, CheckResult& result) {
  const Cluster& cluster = priced.problem.cluster;
  const std::int32_t nodes = resized(cluster, ranks).nodes();
  const Bytes bytes = *parse_unit<Bytes>(kLinkProbe).value;
  const double expected =
      priced.inputs.calibration.collective(Collective::all_reduce, links_of(cluster, ranks), bytes)
          .time.value;
  const Probed measured =
      probed(launcher(ranks, ask.launcher), fmt::format("all_reduce {} {}", bytes.count, ranks), "");
  const std::string where =
      nodes > 1 ? fmt::format("{} GPUs of {} nodes", ranks, nodes) : fmt::format("{} GPUs", ranks);
  compare(fmt::format("link among {}, an all-reduce of {}", where, kLinkProbe), measured, expected, result);
  if (measured.transports.empty()) return;
  const std::string by = fmt::format("NCCL joins {} by {}", where, fmt::join(measured.transports, ", "));
  const bool without_nvlink = has_nvlink(cluster.node.link) && has_transport(measured, "SHM");
  const bool without_rdma = nodes > 1 && has_transport(measured, "NET/Socket");
  if (without_nvlink)
    fault(result, by + ": through host memory where the plan has NVLink");
  else if (without_rdma)
    fault(result, by + ": TCP where the plan has NICs of its own");
  else
    fine(result, by);
}

// Geometric mean over rows of measured over calibrated time.
double exchange_ratio(const std::vector<QuickExchange>& rows, const Priced& priced, std::int32_t ranks) {
  const GroupLinks links = links_of(priced.problem.cluster, ranks);
  double sum = 0;
  for (const QuickExchange& row : rows) {
    const double expected = priced.inputs.calibration.collective(row.collective, links, row.bytes).time.value;
    sum += std::log(row.time.value / expected);
  }
  return std::exp(sum / static_cast<double>(rows.size()));
}

void judge_ranks_speed(const std::vector<double>& seconds, CheckResult& result) {
  const double fastest = *std::min_element(seconds.begin(), seconds.end());
  for (std::size_t rank = 0; rank < seconds.size(); ++rank) {
    if (seconds[rank] > kSlowRank * fastest)
      fault(result, fmt::format("rank {} is slow: {:.2f} times the time of the fastest rank", rank,
                                seconds[rank] / fastest));
  }
}

}  // namespace

Output output_of(const std::vector<std::string>& argv) {
  Output out;
  ChildLimits limits;
  limits.whole = limits.silence = std::chrono::duration<double>(kProbeSeconds);
  out.code = run_child(argv, limits, [&](const std::string& line) { out.lines.push_back(line); }).code;
  return out;
}

std::vector<std::string> transports_of(const std::vector<std::string>& log) {
  std::vector<std::string> out;
  for (const std::string& line : log) {
    const std::size_t via = line.find(" via ");
    if (line.find("NCCL INFO Channel") == std::string::npos || via == std::string::npos) continue;
    std::string name = line.substr(via + 5, line.find(' ', via + 5) - via - 5);
    const bool network = name.starts_with("NET/");
    const std::size_t end = name.find('/', network ? 4 : 0);
    name = name.substr(0, end);
    if (std::find(out.begin(), out.end(), name) == out.end()) out.push_back(name);
  }
  return out;
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
  const Cluster& cluster = priced.problem.cluster;
  if (cluster.gpus_per_node() > 1) probe_link(ask, priced, cluster.gpus_per_node(), result);
  if (cluster.nodes() > 1) probe_link(ask, priced, cluster.gpus, result);
}

void probe_exchanges(const MachineAsk& ask, const Priced& priced, CheckResult& result) {
  const std::int32_t ranks = priced.problem.cluster.gpus;
  std::vector<std::string> argv = launcher(ranks, ask.launcher);
  for (const std::string& word : {sibling("trainwright-calibrate"), std::string("--quick")})
    argv.push_back(word);
  const Output said = output_of(argv);
  const auto answer = std::find_if(said.lines.begin(), said.lines.end(),
                                   [](const std::string& line) { return line.starts_with("{"); });
  if (answer == said.lines.end()) return fault(result, "the ranks' exchanges do not answer");
  const QuickRows quick = read<QuickRows>(parse_json(*answer, "probe"));
  judge_ranks_speed(quick.rank_seconds, result);
  if (quick.exchanges.empty()) return;
  const double ratio = exchange_ratio(quick.exchanges, priced, ranks);
  const std::string text =
      fmt::format("exchanges between {} ranks: {:.2f} times the calibrated time ({} kinds)", ranks, ratio,
                  quick.exchanges.size());
  if (ratio > kSlowExchange)
    fault(result, "slow link: " + text);
  else
    fine(result, text);
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

}  // namespace tw::preflight
