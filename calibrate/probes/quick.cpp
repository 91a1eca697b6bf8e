#include "calibrate/probes/quick.hpp"

#include <algorithm>
#include <chrono>

#include "calibrate/measure/samples.hpp"
#include "calibrate/probes/training_ops.hpp"

namespace tw {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Quick {
 public:
  Quick(Messages& messages, std::int32_t ranks, double seconds)
      : messages_(messages), ranks_(ranks), seconds_(seconds) {
    for (std::int32_t i = 0; i < ranks; ++i) everyone_.push_back(Rank(i));
  }

  std::vector<QuickExchange> exchanges() {
    std::vector<ShapeRun> runs;
    for (const TrainingShape& shape : exchange_shapes(ranks_)) runs.emplace_back(shape, messages_, ranks_);
    if (runs.empty()) return {};
    repeat([&] {
      for (ShapeRun& run : runs) run.step();
    });
    std::vector<QuickExchange> out;
    for (const ShapeRun& run : runs) {
      for (const CollectiveRow& row : run.result(ShapeRun::Take::fast).collectives)
        out.push_back({row.collective, row.bytes, row.time});
    }
    return out;
  }

  // A step's median on the clock, so that a core that others take counts.
  std::vector<double> rank_seconds() {
    ShapeRun work({320, 5, 5, 1024, 0, 0, 256, 1}, messages_, ranks_);  // one of training_shapes
    std::vector<double> times;
    repeat([&] {
      const Clock::time_point start = Clock::now();
      work.step();
      times.push_back(since(start));
    });
    std::vector<double> out(everyone_.size(), 0);
    out[static_cast<std::size_t>(messages_.self().value())] = summary_of(times).median;
    messages_.all_reduce(everyone_, out.data(), ranks_);
    return out;
  }

 private:
  // Until the first rank says that it is over; the first turn warms up.
  template <class Turn>
  void repeat(Turn&& turn) {
    constexpr int kFewest = 4;
    const Clock::time_point start = Clock::now();
    for (int i = 1;; ++i) {
      turn();
      double over = messages_.self() == Rank(0) && i >= kFewest && since(start) > seconds_ ? 1 : 0;
      messages_.all_reduce(everyone_, &over, 1);
      if (over > 0) return;
    }
  }

  Messages& messages_;
  std::int32_t ranks_;
  double seconds_;
  std::vector<Rank> everyone_;
};

}  // namespace

QuickRows quick_rows(Messages& messages, std::int32_t ranks, double seconds) {
  Quick quick(messages, ranks, seconds);
  QuickRows out;
  out.exchanges = quick.exchanges();
  out.rank_seconds = quick.rank_seconds();
  return out;
}

}  // namespace tw
