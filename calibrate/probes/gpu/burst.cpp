#include <algorithm>
#include <cmath>
#include <sstream>

#include "calibrate/probes/gpu/probe.hpp"

namespace tw::gpu {
namespace {

constexpr double kBatch = 1e-3;  // seconds: events cost a microsecond each
constexpr std::int64_t kMostRuns = 20000;
constexpr double kShort = 30e-6;  // seconds: below it the host may be slower than the device

// Relative standard error of the median: 1.25 times that of the mean, from the middle two thirds.
double error_of(std::vector<double> us) {
  std::sort(us.begin(), us.end());
  const auto at = [&](double share) {
    return us[static_cast<std::size_t>(share * static_cast<double>(us.size() - 1) + 0.5)];
  };
  return 1.25 * (at(0.84) - at(0.16)) / 2 / at(0.5) / std::sqrt(static_cast<double>(us.size()));
}

class Burst {
 public:
  Burst(Bench& bench, const BurstRule& rule, const Run& run) : bench_(bench), rule_(rule), run_(run) {}

  double timed(std::int64_t count) {  // seconds of `count` executions on this rank
    Event start, end;
    start.record(bench_.stream);
    for (std::int64_t i = 0; i < count; ++i) run_(turn_++);
    end.record(bench_.stream);
    end.wait();
    return end.seconds_since(start);
  }

  // A batch of short executions is recorded once and replayed, so that launches of the host do not count.
  void record(std::int64_t per_batch) {
    graph_.emplace(bench_.stream);
    for (std::int64_t i = 0; i < per_batch; ++i) run_(turn_++);
    graph_->end();
    graph_->replay(bench_.stream);
  }

  void batches(std::int64_t count, std::int64_t per_batch, LogRow& row) {
    std::vector<Event> marks(static_cast<std::size_t>(count + 1));
    marks[0].record(bench_.stream);
    for (std::int64_t b = 0; b < count; ++b) {
      if (graph_)
        graph_->replay(bench_.stream);
      else
        for (std::int64_t i = 0; i < per_batch; ++i) run_(turn_++);
      marks[static_cast<std::size_t>(b + 1)].record(bench_.stream);
      if (b == count * 2 / 3) read_state(row);
    }
    marks.back().wait();
    for (std::size_t b = 0; b + 1 < marks.size(); ++b) {
      const double here = marks[b + 1].seconds_since(marks[b]) / static_cast<double>(per_batch);
      row.us.push_back((rule_.together ? largest_of_ranks(here) : here) * 1e6);
    }
  }

 private:
  // The host runs ahead of the device: by now the device is in the middle of the work.
  void read_state(LogRow& row) {
    const GpuState state = bench_.watch.now();
    row.clock_mhz = state.clock_mhz, row.power_w = state.power_w, row.heat_c = state.heat_c;
    row.held_down = state.held_down;
  }

  Bench& bench_;
  const BurstRule& rule_;
  const Run& run_;
  std::int64_t turn_ = 0;
  std::optional<Graph> graph_;
};

}  // namespace

LogRow burst(Bench& bench, const Case& one, const BurstRule& rule, const Run& run) {
  const auto agreed = [&](double value) { return rule.together ? of_first_rank(value) : value; };
  Burst work(bench, rule, run);
  work.timed(2);
  if (rule.together) meet();
  double shortest = work.timed(3);  // the first calls wait for what the library sets up
  for (int i = 0; i < 2; ++i) shortest = std::min(shortest, work.timed(3));
  const double each = agreed(std::max(1e-6, shortest / 3));
  work.timed(std::clamp<std::int64_t>(std::lround(rule.warm / each), 1, kMostRuns));
  const std::int64_t per_batch = std::max<std::int64_t>(1, std::lround(kBatch / each));
  if (bench.record && rule.recorded && each < kShort) work.record(per_batch);
  const std::int64_t count = std::clamp<std::int64_t>(
      std::lround(rule.seconds / each / static_cast<double>(per_batch)), 7, rule.batches);
  LogRow row{one.op, one.shape, one.use, {}};
  for (int round = 0; round < rule.rounds; ++round) {
    if (rule.together) meet();
    work.batches(count, per_batch, row);
    if (agreed(error_of(row.us)) < rule.error) break;
  }
  for (double& us : row.us) us = std::round(us * 1000) / 1000;
  return row;
}

Rotating::Rotating(const Bench& bench, std::int64_t elements, float scale, std::int64_t set_bytes) {
  constexpr std::int64_t kMost = 64;
  const std::int64_t wanted = 1 + 2 * bench.facts.l2_bytes / std::max<std::int64_t>(1, set_bytes);
  const std::int64_t whole = (elements + 7) / 8 * 8;
  for (std::int64_t i = 0; i < std::clamp<std::int64_t>(wanted, 2, kMost); ++i) {
    buffers_.emplace_back(2 * whole);
    fill_normal(buffers_.back().data(), whole, scale, static_cast<std::uint64_t>(17 * i + elements),
                bench.stream);
  }
}

}  // namespace tw::gpu
