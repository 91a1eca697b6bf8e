// What an exchange costs inside a step, where it stands between kernels of compute. In turns, on all ranks:
// a GEMM, then the exchange that waits for it on a stream of its own, then the next GEMM, which waits for the
// exchange: OP.open, one turn; OP.not_open and gemm.not_open.OP, each alone without a pause. The same with a
// second GEMM that begins when the exchange may begin and ends beside it: OP.led and gemm.led.OP, the time of
// each, and OP.not_led and gemm.not_led.OP, the same events around each alone. Shape: bytes, ranks, m, n, k.
#include <algorithm>
#include <cmath>

#include "calibrate/probes/gpu/product_and_exchange.hpp"

namespace tw::gpu {
namespace {

struct Size {
  std::int64_t m, n, k;
};
constexpr Size kGemms[] = {{8192, 8192, 4096}, {4096, 4096, 4096}, {4096, 2048, 2048}};  // 0.7 ms to 50 us
constexpr std::int64_t kTurns = 24;

std::vector<Case> cases(const Launch& launch) {
  std::vector<Case> all;
  if (launch.ranks < 2) return all;
  for (const std::string op : {"all_gather", "reduce_scatter", "all_to_all"}) {
    for (const std::int64_t bytes : {1L << 20, 1L << 23, 1L << 24, 1L << 25, 1L << 26, 1L << 28}) {
      for (const auto& [m, n, k] : kGemms) all.push_back({op + ".open", {bytes, launch.ranks, m, n, k}});
    }
  }
  return all;
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

class Turns {
 public:
  Turns(Stream compute, Stream network, const Run& gemm, const Run& exchange)
      : compute_(compute), network_(network), gemm_(gemm), exchange_(exchange) {}

  // Seconds of a turn, of the slowest rank.
  double alone(Stream stream, const Run& run) const {
    Event go, end;
    meet();
    go.record(stream);
    for (std::int64_t turn = 0; turn < kTurns; ++turn) run(turn);
    end.record(stream);
    end.wait();
    return largest_of_ranks(end.seconds_since(go) / static_cast<double>(kTurns));
  }
  double open() {
    Event go, end;
    meet();
    go.record(compute_);
    for (std::int64_t turn = 0; turn < kTurns; ++turn) {
      gemm_(turn);
      begin_exchange();
      exchange_(turn);
      end_exchange();
    }
    end.record(compute_);
    end.wait();
    return largest_of_ranks(end.seconds_since(go) / static_cast<double>(kTurns));
  }
  struct Pair {
    double exchange = 0, gemm = 0;  // seconds, medians over the turns; of the slowest rank
  };
  Pair led(bool exchanges, bool multiplies) {
    std::vector<Event> marks(static_cast<std::size_t>(4 * kTurns));
    meet();
    for (std::int64_t turn = 0; turn < kTurns; ++turn) {
      Event* mark = &marks[static_cast<std::size_t>(4 * turn)];
      gemm_(turn);  // ranks come to the exchange as they do in a step
      begin_exchange();
      begun_.record(network_);
      mark[0].record(network_);
      if (exchanges) exchange_(turn);
      mark[1].record(network_);
      begun_.hold(compute_);
      mark[2].record(compute_);
      if (multiplies) gemm_(turn);
      mark[3].record(compute_);
      end_exchange();
    }
    synchronise();
    std::vector<double> first, second;
    for (std::size_t at = 0; at < marks.size(); at += 4) {
      first.push_back(marks[at + 1].seconds_since(marks[at]));
      second.push_back(marks[at + 3].seconds_since(marks[at + 2]));
    }
    return {largest_of_ranks(median(first)), largest_of_ranks(median(second))};
  }

 private:
  void begin_exchange() {
    there_.record(compute_);
    there_.hold(network_);
  }
  void end_exchange() {
    done_.record(network_);
    done_.hold(compute_);
  }
  Stream compute_, network_;
  const Run &gemm_, &exchange_;
  Event there_{false}, begun_{false}, done_{false};
};

std::vector<LogRow> measure(Bench& bench, const Case& one) {
  const std::string op = exchange_of(one.op);
  const ProductAndExchange both(bench, exchange_named(op), one.shape, bench.urgent);
  Turns turns(bench.stream, bench.urgent, both.product(), both.exchange());
  turns.open();
  return three_samples(bench, one,
                       {op + ".open", op + ".not_open", "gemm.not_open." + op, op + ".led", "gemm.led." + op,
                        op + ".not_led", "gemm.not_led." + op},
                       [&] {
                         const Turns::Pair pair = turns.led(true, true);
                         return std::vector{turns.open(),
                                            turns.alone(bench.urgent, both.exchange()),
                                            turns.alone(bench.stream, both.product()),
                                            pair.exchange,
                                            pair.gemm,
                                            turns.led(true, false).exchange,
                                            turns.led(false, true).gemm};
                       });
}

}  // namespace

const Probe kHandover = {
    "handover", {"all_gather.open", "reduce_scatter.open", "all_to_all.open"}, true, cases, measure};

}  // namespace tw::gpu
