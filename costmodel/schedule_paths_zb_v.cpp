// ZB-V: the work of the busiest device and the idle time of an even pipeline of the mean chunk.
#include <algorithm>

#include "costmodel/schedules/paths.hpp"

namespace tw {
namespace {

// Idle time of an even pipeline over the work of a device, from the first forward of the step to the
// last slot of all devices. derived: each line is one path through the slots, k = pp-1; with
// F = B = W it is k*F, the later start of the last device, and no device idles after its start.
// Exact for even chunks without sends and F <= B + W; a longer F has paths that are left out (up to
// 0.2% of the step). Sends are approximate.
double idle(double k, const ChunkTime& chunk, double send) {
  const double f = chunk.forward, b = chunk.backward, w = chunk.weight;
  return std::max(
      {b + (k - 1) * w + 3 * k * send, f + (k - 1) * w + (3 * k - 2) * send, k * b + (5 * k - 2) * send,
       2 * k * (b - w) + (6 * k - 2) * send, (2 * k - 1) * f - (k - 1) * b + (3 * k - 2) * send,
       (2 * k - 1) * f + b - 2 * k * w + (3 * k - 2) * send, 2 * k * f - k * b - w + (3 * k - 2) * send});
}

double total(const ChunkTime& chunk) {
  return chunk.forward + chunk.backward + chunk.weight;
}

}  // namespace

Makespan zb_v_makespan(const PipeShape& shape, const PipeTimes& times) {
  ChunkTime mean;
  double most = 0;
  for (std::size_t i = 0; i < times.chunks.size(); ++i) {
    const ChunkTime& chunk = times.chunks[i];
    mean.forward += chunk.forward;
    mean.backward += chunk.backward;
    mean.weight += chunk.weight;
    most = std::max(most, total(chunk) + total(times.chunks[times.chunks.size() - 1 - i]));
  }
  const double share = 1 / static_cast<double>(times.chunks.size());
  mean = {mean.forward * share, mean.backward * share, mean.weight * share, 0};
  const double bubble = shape.pp == 1 ? 0 : idle(shape.pp - 1, mean, times.send);
  return {static_cast<double>(shape.microbatches) * most + bubble, bubble};
}

}  // namespace tw
