// What the host pays: a launch of an empty kernel, of a GEMM through cuBLASLt, of a graph of 256 empty
// kernels (per kernel: on the host, and on the device), and a read-back of one value. memory: bytes that a
// context with its libraries and a communicator hold, as one "time" of that many microseconds.
#include <chrono>
#include <cmath>

#include "calibrate/probes/gpu/probe.hpp"

namespace tw::gpu {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::int64_t kBatch = 256;
constexpr int kSamples = 60;

double us_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

std::vector<Case> cases(const Launch&) {
  return {{"launch.kernel", {}},         {"launch.gemm", {}},        {"launch.graph", {kBatch}},
          {"device.empty", {}},          {"device.graph", {kBatch}}, {"round_trip", {}},
          {"memory.context", {}, "note"}};
}

// Host time of each of a batch of calls that the device can keep up with or queue.
LogRow host_time(Bench& bench, const Case& one, double calls, const std::function<void()>& batch) {
  LogRow row{one.op, one.shape, one.use, {}};
  for (int i = -5; i < kSamples; ++i) {
    bench.stream.wait();
    const auto start = Clock::now();
    batch();
    if (i >= 0) row.us.push_back(std::round(us_since(start) / calls * 1000) / 1000);
  }
  bench.stream.wait();
  return row;
}

LogRow round_trip(Bench& bench, const Case& one) {
  const HostBuffer host(8);
  const Buffer device(8);
  return host_time(bench, one, 1, [&] {
    nothing(bench.stream);
    to_host(device.data(), host.data(), 8, bench.stream);
    bench.stream.wait();
  });
}

std::vector<LogRow> measure(Bench& bench, const Case& one) {
  const auto many = [&](const std::function<void()>& run) {
    return [run] {
      for (std::int64_t i = 0; i < kBatch; ++i) run();
    };
  };
  if (one.op == "memory.context") {
    const auto held = static_cast<double>(bench.facts.memory_bytes - free_memory());
    return {{one.op, one.shape, one.use, {held}}};
  }
  if (one.op == "round_trip") return {round_trip(bench, one)};
  if (one.op == "launch.kernel") return {host_time(bench, one, kBatch, many([&] { nothing(bench.stream); }))};
  if (one.op == "launch.gemm") {
    constexpr std::int64_t kSize = 128;
    const Buffer x(2 * kSize * kSize), w(2 * kSize * kSize), y(2 * kSize * kSize);
    const Gemm gemm(bench.blas, {Product::forward, kSize, kSize, kSize});
    return {host_time(bench, one, kBatch, many([&] { gemm.run({x.data(), w.data(), y.data()}); }))};
  }
  BurstRule rule;
  rule.recorded = false;
  if (one.op == "device.empty")
    return {burst(bench, one, rule, [&](std::int64_t) { nothing(bench.stream); })};
  Graph graph(bench.stream);
  for (std::int64_t i = 0; i < kBatch; ++i) nothing(bench.stream);
  graph.end();
  if (one.op == "launch.graph") return {host_time(bench, one, kBatch, [&] { graph.replay(bench.stream); })};
  LogRow row = burst(bench, one, rule, [&](std::int64_t) { graph.replay(bench.stream); });
  for (double& us : row.us) us /= static_cast<double>(kBatch);
  return {row};
}

}  // namespace

const Probe kLaunches = {"launches",
                         {"launch.kernel", "launch.gemm", "launch.graph", "device.empty", "device.graph",
                          "round_trip", "memory.context"},
                         false,
                         cases,
                         measure};

}  // namespace tw::gpu
