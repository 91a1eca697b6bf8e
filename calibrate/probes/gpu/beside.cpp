// Interference: GEMMs of one size on one stream and one collective on another, both without a pause, on all
// ranks. OP.beside gives the collective's time, gemm.beside.OP the GEMM's, .not_beside each alone; shape:
// bytes, ranks, m, n, k, and 1 where the collective's stream has the highest priority. Feeds the slow-downs.
#include <algorithm>
#include <cmath>
#include <map>

#include "calibrate/probes/gpu/probe.hpp"

namespace tw::gpu {
namespace {

struct Size {
  std::int64_t m, n, k;
};
constexpr Size kGemms[] = {{8192, 8192, 4096}, {4096, 4096, 4096}, {2048, 4096, 2048}};  // 0.7 ms to 50 us
constexpr double kSeconds = 0.03;

const std::map<std::string, Exchange>& kinds() {
  static const std::map<std::string, Exchange> table = {{"all_reduce", Exchange::all_reduce},
                                                        {"all_gather", Exchange::all_gather},
                                                        {"all_to_all", Exchange::all_to_all}};
  return table;
}

std::vector<Case> cases(const Launch& launch) {
  std::vector<Case> all;
  if (launch.ranks < 2) return all;
  for (const auto& [op, kind] : kinds()) {
    for (const std::int64_t bytes : {1L << 20, 1L << 23, 1L << 26, 1L << 28}) {
      for (const auto& [m, n, k] : kGemms) {
        for (const std::int64_t urgent : {0, 1})
          all.push_back({op + ".beside", {bytes, launch.ranks, m, n, k, urgent}});
      }
    }
  }
  return all;
}

// One of the two kinds of work, on its own stream, with an event after each execution.
class Track {
 public:
  Track(Stream stream, std::int64_t count, const Run& run)
      : stream_(stream), run_(run), marks_(static_cast<std::size_t>(count)) {}
  bool next() {
    if (enqueued_ == marks_.size()) return false;
    run_(static_cast<std::int64_t>(enqueued_));
    marks_[enqueued_++].record(stream_);
    return true;
  }
  double end(const Event& go) const {
    marks_.back().wait();
    return marks_.back().seconds_since(go);
  }
  // Seconds of one, of those that ended by then.
  double each(const Event& go, double by) const {
    std::size_t done = 0;
    while (done < marks_.size() && marks_[done].seconds_since(go) <= by) ++done;
    return done == 0 ? by : marks_[done - 1].seconds_since(go) / static_cast<double>(done);
  }

 private:
  Stream stream_;
  const Run& run_;
  std::vector<Event> marks_;
  std::size_t enqueued_ = 0;
};

struct Streams {
  Stream compute, network;
};

double alone(const Stream stream, std::int64_t count, const Run& run) {
  Event go;
  meet();
  go.record(stream);
  Track track(stream, count, run);
  while (track.next()) {
  }
  return largest_of_ranks(track.end(go) / static_cast<double>(count));
}

struct Pair {
  double gemm, exchange;  // seconds of one each
};

// Both at once; what ends after the other has run out does not count.
Pair together(const Streams& on, std::int64_t gemms, std::int64_t exchanges, const Run& gemm,
              const Run& exchange) {
  Event go;
  meet();
  go.record(on.compute);
  go.hold(on.network);
  Track products(on.compute, gemms, gemm), messages(on.network, exchanges, exchange);
  for (bool more = true; more;) {
    const bool first = messages.next(), second = products.next();
    more = first || second;
  }
  const double by = std::min(products.end(go), messages.end(go));
  synchronise();
  return {largest_of_ranks(products.each(go, by)), largest_of_ranks(messages.each(go, by))};
}

std::vector<LogRow> measure(Bench& bench, const Case& one) {
  const std::string op = one.op.substr(0, one.op.find('.'));
  const std::int64_t bytes = one.shape.at(0), m = one.shape.at(2), n = one.shape.at(3), k = one.shape.at(4);
  const Streams on{bench.stream, one.shape.at(5) == 1 ? bench.urgent : bench.second};
  const Rotating in(bench, bytes / 2, 1, 2 * bytes), out(bench, bytes / 2, 1, 2 * bytes);
  const Rotating x(bench, m * k, 1, 2 * m * k), w(bench, n * k, 0.02f, 2 * n * k),
      y(bench, m * n, 0, 2 * m * n);
  const Gemm product(bench.blas, {Product::forward, m, n, k});
  const Run gemm = [&](std::int64_t turn) { product.run({x.at(turn), w.at(turn), y.at(turn)}); };
  const Run exchange = [&](std::int64_t turn) {
    bench.communicator->run({kinds().at(op), bytes}, in.at(turn), out.at(turn), on.network);
  };
  together(on, 3, 3, gemm, exchange);
  const double gemm_alone = alone(on.compute, 30, gemm), exchange_alone = alone(on.network, 10, exchange);
  const auto gemms = std::max<std::int64_t>(20, std::lround(kSeconds / gemm_alone));
  const auto exchanges = std::max<std::int64_t>(20, std::lround(kSeconds / exchange_alone));
  std::vector<LogRow> rows = {{op + ".beside", one.shape, one.use, {}},
                              {"gemm.beside." + op, one.shape, one.use, {}},
                              {op + ".not_beside", one.shape, one.use, {}},
                              {"gemm.not_beside." + op, one.shape, one.use, {}}};
  for (int sample = 0; sample < 3; ++sample) {
    const Pair both = together(on, gemms, exchanges, gemm, exchange);
    const double values[] = {both.exchange, both.gemm, alone(on.network, exchanges, exchange),
                             alone(on.compute, gemms, gemm)};
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i].us.push_back(std::round(values[i] * 1e9) / 1e3);
  }
  const GpuState state = bench.watch.now();
  for (LogRow& row : rows)
    row.clock_mhz = state.clock_mhz, row.power_w = state.power_w, row.heat_c = state.heat_c;
  return rows;
}

}  // namespace

const Probe kBeside = {
    "beside", {"all_reduce.beside", "all_gather.beside", "all_to_all.beside"}, true, cases, measure};

}  // namespace tw::gpu
