// Copies between a device and page-locked host memory, one way: bytes. Feeds the host costs.
#include "calibrate/probes/gpu/probe.hpp"

namespace tw::gpu {
namespace {

std::vector<Case> cases(const Launch&) {
  std::vector<Case> all;
  for (const char* op : {"to_host", "to_device"}) {
    for (const std::int64_t bytes : {1L << 12, 1L << 16, 1L << 20, 1L << 24, 1L << 28})
      all.push_back({op, {bytes}});
  }
  return all;
}

std::vector<LogRow> measure(Bench& bench, const Case& one) {
  const std::int64_t bytes = one.shape.at(0);
  const HostBuffer host(bytes);
  const Buffer device(bytes);
  BurstRule rule;
  rule.recorded = false;
  return {burst(bench, one, rule, [&](std::int64_t) {
    if (one.op == "to_host")
      to_host(device.data(), host.data(), bytes, bench.stream);
    else
      to_device(host.data(), device.data(), bytes, bench.stream);
  })};
}

}  // namespace

const Probe kCopies = {"copies", {"to_host", "to_device"}, false, cases, measure};

}  // namespace tw::gpu
