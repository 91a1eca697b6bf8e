// Interference: GEMMs of one size on one stream and one collective on another, both without a pause, on all
// ranks. OP.beside gives the collective's time, gemm.beside.OP the GEMM's; shape: bytes, ranks, m, n, k.
#include <cmath>
#include <map>

#include "calibrate/probes/gpu/probe.hpp"

namespace tw::gpu {
namespace {

constexpr std::int64_t kM = 8192, kN = 8192, kK = 4096;

const std::map<std::string, Exchange>& kinds() {
  static const std::map<std::string, Exchange> table = {{"all_reduce", Exchange::all_reduce},
                                                        {"all_gather", Exchange::all_gather},
                                                        {"reduce_scatter", Exchange::reduce_scatter},
                                                        {"all_to_all", Exchange::all_to_all},
                                                        {"send_both", Exchange::send_both}};
  return table;
}

std::vector<Case> cases(std::int32_t ranks) {
  std::vector<Case> all;
  if (ranks < 2) return all;
  for (const auto& [op, kind] : kinds()) {
    for (const std::int64_t bytes : {1L << 20, 1L << 23, 1L << 26, 1L << 29})
      all.push_back({op + ".beside", {bytes, ranks, kM, kN, kK}});
  }
  return all;
}

struct Pair {
  double gemm, exchange;  // seconds of one each
};

// `gemms` and `exchanges` at once; each stream's own time.
Pair together(Bench& bench, std::int64_t gemms, std::int64_t exchanges, const Run& gemm,
              const Run& exchange) {
  Event go, gemm_end, exchange_end;
  meet();
  go.record(bench.stream);
  go.hold(bench.second);
  for (std::int64_t i = 0; i < std::max(gemms, exchanges); ++i) {
    if (i < exchanges) exchange(i);
    if (i < gemms) gemm(i);
  }
  gemm_end.record(bench.stream), exchange_end.record(bench.second);
  gemm_end.wait(), exchange_end.wait();
  return {gemm_end.seconds_since(go) / static_cast<double>(std::max<std::int64_t>(gemms, 1)),
          exchange_end.seconds_since(go) / static_cast<double>(std::max<std::int64_t>(exchanges, 1))};
}

std::vector<LogRow> measure(Bench& bench, const Case& one) {
  const std::string op = one.op.substr(0, one.op.find('.'));
  const std::int64_t bytes = one.shape.at(0), m = one.shape.at(2), n = one.shape.at(3), k = one.shape.at(4);
  const Rotating in(bench, bytes / 2, 1, 2 * bytes), out(bench, bytes / 2, 1, 2 * bytes);
  const Rotating x(bench, m * k, 1, 2 * m * k), w(bench, n * k, 0.02f, 2 * n * k),
      y(bench, m * n, 0, 2 * m * n);
  const Gemm product(bench.blas, {Product::forward, m, n, k});
  const Run gemm = [&](std::int64_t turn) { product.run({x.at(turn), w.at(turn), y.at(turn)}); };
  const Run exchange = [&](std::int64_t turn) {
    bench.communicator->run({kinds().at(op), bytes}, in.at(turn), out.at(turn), bench.second);
  };
  constexpr double kSeconds = 0.04;
  together(bench, 3, 3, gemm, exchange);
  const double gemm_alone = largest_of_ranks(together(bench, 20, 0, gemm, exchange).gemm);
  const double exchange_alone = largest_of_ranks(together(bench, 0, 10, gemm, exchange).exchange);
  LogRow beside{one.op, one.shape, one.use, {}}, product_beside{"gemm.beside." + op, one.shape, one.use, {}};
  LogRow alone{op + ".not_beside", one.shape, one.use, {}},
      product_alone{"gemm.not_beside." + op, one.shape, one.use, {}};
  const auto gemms = std::max<std::int64_t>(2, std::lround(kSeconds / gemm_alone));
  const auto exchanges = std::max<std::int64_t>(2, std::lround(kSeconds / exchange_alone));
  for (int sample = 0; sample < 5; ++sample) {
    // The one that is watched ends first: the other is given half as much again.
    beside.us.push_back(1e6 *
                        largest_of_ranks(together(bench, gemms * 3 / 2, exchanges, gemm, exchange).exchange));
    product_beside.us.push_back(1e6 *
                                largest_of_ranks(together(bench, gemms, exchanges * 2, gemm, exchange).gemm));
    alone.us.push_back(1e6 * largest_of_ranks(together(bench, 0, exchanges, gemm, exchange).exchange));
    product_alone.us.push_back(1e6 * largest_of_ranks(together(bench, gemms, 0, gemm, exchange).gemm));
  }
  const GpuState state = bench.watch.now();
  for (LogRow* row : {&beside, &product_beside, &alone, &product_alone})
    row->clock_mhz = state.clock_mhz, row->power_w = state.power_w, row->heat_c = state.heat_c;
  return {beside, product_beside, alone, product_alone};
}

}  // namespace

const Probe kBeside = {"beside",
                       {"all_reduce.beside", "all_gather.beside", "reduce_scatter.beside",
                        "all_to_all.beside", "send_both.beside"},
                       true,
                       cases,
                       measure};

}  // namespace tw::gpu
