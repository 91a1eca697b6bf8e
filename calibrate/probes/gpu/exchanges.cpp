// Collectives and messages of NCCL among all ranks, each alone: bytes as calibration.hpp counts them, ranks,
// and nodes where there are several. Powers of two are fitted, those half as large again judge the fit; where
// NCCL changes its protocol both are fitted and what lies between them judges. Feeds the link curves.
// all_to_all_v: bytes, ranks, and what the last rank receives over the mean in per cent.
#include <map>

#include "calibrate/probes/gpu/probe.hpp"

namespace tw::gpu {
namespace {

const std::map<std::string, Exchange>& kinds() {
  static const std::map<std::string, Exchange> table = {{"all_reduce", Exchange::all_reduce},
                                                        {"all_gather", Exchange::all_gather},
                                                        {"all_to_all", Exchange::all_to_all},
                                                        {"all_to_all_v", Exchange::all_to_all},
                                                        {"send_both", Exchange::send_both},
                                                        {"reduce_scatter", Exchange::reduce_scatter},
                                                        {"send", Exchange::send}};
  return table;
}

constexpr std::int64_t kSwitchFrom = 1 << 12, kSwitchTo = 1 << 24;

std::vector<std::int64_t> shape(std::int64_t bytes, const Launch& launch) {
  if (launch.nodes == 1) return {bytes, launch.ranks};
  return {bytes, launch.ranks, launch.nodes};
}

// 1 KiB to 1 GiB; over a network, which may be slow, 4 KiB to 256 MiB.
std::vector<Case> cases(const Launch& launch) {
  std::vector<Case> all;
  if (launch.ranks < 2) return all;
  const std::int64_t most = std::int64_t{1} << (launch.nodes > 1 ? 28 : 30);
  for (const auto& [op, kind] : kinds()) {
    if (op == "all_to_all_v") continue;
    for (std::int64_t bytes = launch.nodes > 1 ? 1 << 12 : 1 << 10; bytes <= most; bytes *= 2) {
      all.push_back({op, shape(bytes, launch), "fit"});
      if (bytes == most) break;
      const bool switches = launch.nodes == 1 && bytes >= kSwitchFrom && bytes < kSwitchTo;
      all.push_back({op, shape(bytes / 4 * 6, launch), switches ? "fit" : "check"});
      if (!switches) continue;
      all.push_back({op, shape(bytes / 4 * 5, launch), "check"});
      all.push_back({op, shape(bytes / 4 * 7, launch), "check"});
    }
  }
  if (launch.nodes > 1) return all;
  for (const std::int64_t percent : {125, 150, 190}) {
    for (const std::int64_t bytes : {1L << 20, 1L << 23, 1L << 26, 1L << 28})
      all.push_back({"all_to_all_v", {bytes, launch.ranks, percent}, "check"});
  }
  return all;
}

std::vector<LogRow> measure(Bench& bench, const Case& one) {
  const std::int64_t bytes = one.shape.at(0);
  ExchangeCall call{kinds().at(one.op), bytes};
  if (one.op == "all_to_all_v") call.last_percent = one.shape.at(2);
  const std::int64_t received = bytes * std::max<std::int64_t>(100, call.last_percent) / 100;
  const Rotating in(bench, bytes / 2, 1, 2 * bytes), out(bench, received / 2, 1, 2 * bytes);
  BurstRule rule;
  rule.together = true;
  const bool network = one.op != "all_to_all_v" && one.shape.size() > 2;
  if (network) rule.seconds = 0.25, rule.batches = 250;  // sockets: times vary by half
  return {burst(bench, one, rule, [&](std::int64_t turn) {
    bench.communicator->run(call, in.at(turn), out.at(turn), bench.stream);
  })};
}

}  // namespace

const Probe kExchanges = {
    "exchanges",
    {"all_reduce", "all_gather", "reduce_scatter", "all_to_all", "all_to_all_v", "send", "send_both"},
    true,
    cases,
    measure};

}  // namespace tw::gpu
