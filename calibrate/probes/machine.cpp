#include "calibrate/probes/machine.hpp"

#include <chrono>
#include <cstring>

#include "calibrate/fit/minimise.hpp"
#include "calibrate/measure/samples.hpp"

namespace tw {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

KernelRow copy_row() {
  constexpr std::size_t kBytes = std::size_t{64} << 20;
  std::vector<char> from(kBytes, 1), to(kBytes, 2);
  std::vector<double> seconds;
  for (int i = 0; i < 9; ++i) {
    const double start = now();
    std::memcpy(to.data(), from.data(), kBytes);
    seconds.push_back(now() - start);
    from[static_cast<std::size_t>(i)] = to[kBytes - 1];
  }
  const Summary s = summary_of(seconds);
  return {"copy",
          {static_cast<std::int64_t>(2 * kBytes)},
          Seconds(rounded(s.median)),
          rounded(s.spread),
          s.count};
}

std::vector<CollectiveRow> send_rows(Messages& messages, std::int32_t ranks) {
  std::vector<CollectiveRow> out;
  const Rank first(0), last(ranks - 1);
  std::vector<Rank> everyone;
  for (std::int32_t i = 0; i < ranks; ++i) everyone.push_back(Rank(i));
  for (std::int64_t bytes = 4 << 10; bytes <= 4 << 20; bytes *= 4) {
    std::vector<char> data(static_cast<std::size_t>(bytes), 1);
    std::vector<double> seconds;
    for (int i = 0; i < 30; ++i) {
      const double start = now();
      if (messages.self() == first) {
        messages.send(last, 1, data.data(), bytes), messages.receive(last, 2, data.data(), bytes);
      } else if (messages.self() == last) {
        messages.receive(first, 1, data.data(), bytes), messages.send(first, 2, data.data(), bytes);
      }
      messages.finish_sends();
      if (i >= 5) seconds.push_back((now() - start) / 2);
    }
    Summary s = summary_of(seconds);
    double sums[] = {messages.self() == first ? s.median : 0, messages.self() == first ? s.spread : 0};
    messages.all_reduce(everyone, sums, 2);
    CollectiveRow row;
    row.use = "fit", row.gpu = "local-cpu", row.collective = Collective::send;
    row.algorithm = usual_algorithm(row.collective);
    row.ranks = 2, row.bytes = Bytes(bytes), row.time = Seconds(rounded(sums[0]));
    row.spread = rounded(sums[1]), row.samples = s.count;
    out.push_back(row);
  }
  return out;
}

}  // namespace tw
