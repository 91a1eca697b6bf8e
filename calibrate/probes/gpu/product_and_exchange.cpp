#include "calibrate/probes/gpu/product_and_exchange.hpp"

#include <cmath>
#include <map>

namespace tw::gpu {

ProductAndExchange::ProductAndExchange(Bench& bench, Exchange kind, const std::vector<std::int64_t>& s,
                                       Stream network)
    : in_(bench, s.at(0) / 2, 1, 2 * s.at(0)),
      out_(bench, s.at(0) / 2, 1, 2 * s.at(0)),
      x_(bench, s.at(2) * s.at(4), 1, 2 * s.at(2) * s.at(4)),
      w_(bench, s.at(3) * s.at(4), 0.02f, 2 * s.at(3) * s.at(4)),
      y_(bench, s.at(2) * s.at(3), 0, 2 * s.at(2) * s.at(3)),
      gemm_(bench.blas, {Product::forward, s.at(2), s.at(3), s.at(4)}) {
  product_ = [this](std::int64_t turn) { gemm_.run({x_.at(turn), w_.at(turn), y_.at(turn)}); };
  exchange_ = [this, &bench, kind, bytes = s.at(0), network](std::int64_t turn) {
    bench.communicator->run({kind, bytes}, in_.at(turn), out_.at(turn), network);
  };
}

std::string exchange_of(const std::string& op) {
  return op.substr(0, op.find('.'));
}

Exchange exchange_named(const std::string& name) {
  static const std::map<std::string, Exchange> table = {{"all_reduce", Exchange::all_reduce},
                                                        {"all_gather", Exchange::all_gather},
                                                        {"reduce_scatter", Exchange::reduce_scatter},
                                                        {"all_to_all", Exchange::all_to_all}};
  return table.at(name);
}

std::vector<LogRow> three_samples(Bench& bench, const Case& one, const std::vector<std::string>& names,
                                  const std::function<std::vector<double>()>& sample) {
  std::vector<LogRow> rows;
  for (const std::string& name : names) rows.push_back({name, one.shape, one.use, {}});
  for (int turn = 0; turn < 3; ++turn) {
    const std::vector<double> seconds = sample();
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i].us.push_back(std::round(seconds.at(i) * 1e9) / 1e3);
  }
  const GpuState state = bench.watch.now();
  for (LogRow& row : rows)
    row.clock_mhz = state.clock_mhz, row.power_w = state.power_w, row.heat_c = state.heat_c;
  return rows;
}

}  // namespace tw::gpu
