// Collectives and messages of NCCL among all ranks, each alone: bytes as calibration.hpp counts them, and
// ranks. Powers of four are fitted, those of two between them judge the fit. Feeds the link curves.
#include <map>

#include "calibrate/probes/gpu/probe.hpp"

namespace tw::gpu {
namespace {

const std::map<std::string, Exchange>& kinds() {
  static const std::map<std::string, Exchange> table = {{"all_reduce", Exchange::all_reduce},
                                                        {"all_gather", Exchange::all_gather},
                                                        {"reduce_scatter", Exchange::reduce_scatter},
                                                        {"all_to_all", Exchange::all_to_all},
                                                        {"send", Exchange::send},
                                                        {"send_both", Exchange::send_both}};
  return table;
}

std::vector<Case> cases(std::int32_t ranks) {
  std::vector<Case> all;
  if (ranks < 2) return all;
  constexpr int kFirst = 10, kLast = 30;  // 1 KiB to 1 GiB
  for (const auto& [op, kind] : kinds()) {
    for (int bits = kFirst; bits <= kLast; ++bits)
      all.push_back({op, {std::int64_t{1} << bits, ranks}, bits % 2 == 0 ? "fit" : "check"});
  }
  return all;
}

std::vector<LogRow> measure(Bench& bench, const Case& one) {
  const std::int64_t bytes = one.shape.at(0);
  const ExchangeCall call{kinds().at(one.op), bytes};
  const Rotating in(bench, bytes / 2, 1, 2 * bytes), out(bench, bytes / 2, 1, 2 * bytes);
  BurstRule rule;
  rule.together = true, rule.recorded = false;
  return {burst(bench, one, rule, [&](std::int64_t turn) {
    bench.communicator->run(call, in.at(turn), out.at(turn), bench.stream);
  })};
}

}  // namespace

const Probe kExchanges = {"exchanges",
                          {"all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send", "send_both"},
                          true,
                          cases,
                          measure};

}  // namespace tw::gpu
