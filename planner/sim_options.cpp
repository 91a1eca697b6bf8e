#include "planner/sim_options.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "costmodel/expert_load.hpp"
#include "costmodel/expert_placement.hpp"
#include "planner/options.hpp"
#include "planner/problem.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

constexpr double kMostSlow = 1000, kMostJitter = 1;
constexpr std::int64_t kMostPieces = 8, kMostStep = std::int64_t{1} << 40, kMostSeed = std::int64_t{1} << 53,
                       kMostReplicas = 512;

std::vector<std::string> split(const std::string& text, char by) {
  std::vector<std::string> out;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t end = std::min(text.find(by, start), text.size());
    out.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return out;
}

// "7:1.2" or "7:1.2,9:1.1": ranks and how much longer their compute takes.
std::vector<double> slow_ranks(const std::string& text, std::int32_t ranks) {
  std::vector<double> out;
  if (text.empty()) return out;
  out.assign(static_cast<std::size_t>(ranks), 1);
  for (const std::string& one : split(text, ',')) {
    const std::vector<std::string> parts = split(one, ':');
    if (parts.size() != 2)
      throw InputError("command line", "--slow",
                       "\"" + printable(one) + "\": give RANK:FACTOR, such as 7:1.2");
    const std::int64_t rank = whole_number("--slow", parts[0], 0, ranks - 1);
    out[static_cast<std::size_t>(rank)] = decimal("--slow", parts[1], 1, kMostSlow);
  }
  return out;
}

// nic:NODE:INDEX, rail:INDEX, uplink:POD:LEAF, nvlink:NODE:GPU, and for slow ones :FACTOR behind it.
void add_faults(std::vector<Fault>& out, const char* option, const std::string& text, bool slow,
                const Cluster& cluster) {
  if (text.empty()) return;
  for (const std::string& one : split(text, ',')) {
    std::vector<std::string> parts = split(one, ':');
    const auto wrong = [&] {
      throw InputError(
          "command line", option,
          fmt::format("\"{}\": give nic:NODE:INDEX, rail:INDEX, uplink:POD:LEAF or nvlink:NODE:GPU{}",
                      printable(one), slow ? ", each with :FACTOR" : ""));
    };
    double share = 1;
    if (slow) {
      if (parts.size() != (parts[0] == "rail" ? 3 : 4)) wrong();
      share = 1 - 1 / decimal(option, parts.back(), 1, kMostSlow);
      parts.pop_back();
      if (share == 0) continue;
    }
    const auto number = [&](std::size_t i, std::int32_t count) {
      return static_cast<std::int32_t>(whole_number(option, parts[i], 0, count - 1));
    };
    const std::int32_t nodes = cluster.nodes();
    if (parts.size() == 2 && parts[0] == "rail") {
      const std::int32_t nic = number(1, cluster.node.nics);
      for (std::int32_t node = 0; node < nodes; ++node) out.push_back({FaultKind::nic, node, nic, share});
      continue;
    }
    if (parts.size() != 3) wrong();
    if (parts[0] == "nic")
      out.push_back({FaultKind::nic, number(1, nodes), number(2, cluster.node.nics), share});
    else if (parts[0] == "uplink")
      out.push_back(
          {FaultKind::leaf_uplink, number(1, cluster.pods()), number(2, cluster.leaves_per_pod()), share});
    else if (parts[0] == "nvlink")
      out.push_back({FaultKind::nvswitch, number(1, nodes), number(2, cluster.gpus_per_node()), share});
    else
      wrong();
  }
}

}  // namespace

SimSettings settings_of(const SimAsk& ask, std::int32_t ranks, const Cluster& cluster) {
  SimSettings out;
  out.contention = !ask.no_contention, out.unfold = ask.unfold;
  out.slow = slow_ranks(ask.slow, ranks);
  if (!ask.jitter.empty()) out.jitter = decimal("--jitter", ask.jitter, 0, kMostJitter);
  out.pieces = static_cast<std::int32_t>(whole_number("--a2a-chunks", ask.pieces, 1, kMostPieces));
  out.seed = static_cast<std::uint64_t>(whole_number("--seed", ask.seed, 0, kMostSeed));
  out.skew = {ask.load, ask.placement,
              static_cast<std::int32_t>(whole_number("--replicas", ask.replicas, 0, kMostReplicas)),
              whole_number("--step", ask.step, 0, kMostStep), out.seed};
  if (ask.load == "balanced" && ask.placement == "none" && out.skew.replicas == 0) out.skew = {};
  add_faults(out.faults, "--lost-link", ask.lost_link, false, cluster);
  add_faults(out.faults, "--slow-link", ask.slow_link, true, cluster);
  return out;
}

std::vector<std::pair<std::string, std::string>> conditions_of(const SimAsk& ask) {
  const SimAsk usual;
  std::vector<std::pair<std::string, std::string>> out;
  const auto add = [&](const char* name, std::string SimAsk::*value) {
    if (ask.*value != usual.*value) out.emplace_back(name, ask.*value);
  };
  add("a2a-chunks", &SimAsk::pieces), add("load", &SimAsk::load), add("step", &SimAsk::step);
  add("placement", &SimAsk::placement), add("replicas", &SimAsk::replicas), add("slow", &SimAsk::slow);
  add("slow-link", &SimAsk::slow_link), add("lost-link", &SimAsk::lost_link);
  add("jitter", &SimAsk::jitter), add("seed", &SimAsk::seed);
  return out;
}

void add_options(CLI::App& app, SimAsk& ask) {
  app.add_flag("--unfold", ask.unfold, "play every rank; else ranks that cannot differ are played once");
  app.add_flag("--no-contention", ask.no_contention,
               "exchanges take what they take alone, whatever shares their links");
  text_option(
      app, "--a2a-chunks", ask.pieces,
      "1 to 8: routed tokens travel in so many pieces, each while the experts work on the one before");
  text_option(app, "--load", ask.load,
              "how tokens choose experts: " + names_of(all_loads()) +
                  " (trainwright list loads), with :NUMBER, or a trace: FILE.json; memory stays that of "
                  "equal experts");
  text_option(app, "--step", ask.step, "of the run, where the load changes");
  text_option(app, "--placement", ask.placement,
              "of experts on ranks: " + names_of(all_placements()) + " (trainwright list placements)");
  text_option(app, "--replicas", ask.replicas,
              "expert slots of each rank beyond its own; summing their gradients costs nothing here");
  text_option(app, "--slow", ask.slow, "RANK:FACTOR,...: compute of these ranks takes so much longer");
  text_option(app, "--slow-link", ask.slow_link,
              "LINK:FACTOR,...: nic:NODE:INDEX, rail:INDEX, uplink:POD:LEAF, nvlink:NODE:GPU; nobody goes "
              "around it");
  text_option(app, "--lost-link", ask.lost_link, "LINK,...: its GPUs send by the other NICs of their node");
  text_option(app, "--jitter", ask.jitter,
              "relative standard deviation of each computation's time (plays every rank)");
  text_option(app, "--seed", ask.seed, "of the jitter, and of which experts are popular");
}

}  // namespace tw
