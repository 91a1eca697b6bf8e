// Interference: GEMMs of one size on one stream and one collective on another, both without a pause, on all
// ranks. OP.beside gives the collective's time, gemm.beside.OP the GEMM's, .not_beside each alone; shape:
// bytes, ranks, m, n, k, and 1 where the collective's stream has the highest priority. Feeds the slow-downs.
#include <algorithm>
#include <cmath>

#include "calibrate/probes/gpu/product_and_exchange.hpp"

namespace tw::gpu {
namespace {

struct Size {
  std::int64_t m, n, k;
};
constexpr Size kGemms[] = {{8192, 8192, 4096}, {4096, 4096, 4096}, {2048, 4096, 2048}};  // 0.7 ms to 50 us
constexpr double kSeconds = 0.03;

std::vector<Case> cases(const Launch& launch) {
  std::vector<Case> all;
  if (launch.ranks < 2) return all;
  for (const std::string op : {"all_gather", "all_reduce", "all_to_all"}) {
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
  const std::string op = exchange_of(one.op);
  const Streams on{bench.stream, one.shape.at(5) == 1 ? bench.urgent : bench.second};
  const ProductAndExchange both(bench, exchange_named(op), one.shape, on.network);
  const Run &gemm = both.product(), &exchange = both.exchange();
  together(on, 3, 3, gemm, exchange);
  const double gemm_alone = alone(on.compute, 30, gemm), exchange_alone = alone(on.network, 10, exchange);
  const auto gemms = std::max<std::int64_t>(20, std::lround(kSeconds / gemm_alone));
  const auto exchanges = std::max<std::int64_t>(20, std::lround(kSeconds / exchange_alone));
  return three_samples(
      bench, one, {op + ".beside", "gemm.beside." + op, op + ".not_beside", "gemm.not_beside." + op}, [&] {
        const Pair pair = together(on, gemms, exchanges, gemm, exchange);
        return std::vector{pair.exchange, pair.gemm, alone(on.network, exchanges, exchange),
                           alone(on.compute, gemms, gemm)};
      });
}

}  // namespace

const Probe kBeside = {
    "beside", {"all_reduce.beside", "all_gather.beside", "all_to_all.beside"}, true, cases, measure};

}  // namespace tw::gpu
