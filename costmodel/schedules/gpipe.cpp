// All forwards, then all backwards in reverse order (GPipe, Huang et al. 2019, figure 2c).
#include <algorithm>

#include "costmodel/schedules/slots.hpp"

namespace tw::schedules {
namespace {

std::string_view illegal(const PipeShape& shape) {
  if (shape.vpp != 1) return "gpipe has one chunk per stage: vpp must be 1";
  return broken_size(shape);
}

std::vector<Slot> slots(const PipeShape& shape, std::int32_t stage) {
  std::vector<Slot> out;
  const std::int32_t count = microbatch_count(shape);
  for (std::int32_t i = 0; i < count; ++i) out.push_back({Pass::forward, i, stage});
  for (std::int32_t i = count - 1; i >= 0; --i) out.push_back({Pass::backward, i, stage});
  return out;
}

std::int32_t in_flight(const PipeShape& shape, std::int32_t, std::int32_t) {
  return microbatch_count(shape);
}

// derived: each half is a flow shop of equal jobs, whose makespan is one job through all stages and
// the others through the slowest. Exact for any stages: every F of a stage ends before its first B.
Makespan makespan(const PipeShape& shape, const PipeTimes& times) {
  double forwards = 0, backwards = 0, slow_forward = 0, slow_backward = 0, most = 0;
  for (const ChunkTime& chunk : times.chunks) {
    const double backward = chunk.backward + chunk.weight;
    forwards += chunk.forward;
    backwards += backward;
    slow_forward = std::max(slow_forward, chunk.forward);
    slow_backward = std::max(slow_backward, backward);
    most = std::max(most, chunk.forward + backward);
  }
  const auto count = static_cast<double>(shape.microbatches);
  const double sends = 2.0 * (shape.pp - 1) * times.send;
  const double seconds = forwards + backwards + (count - 1) * (slow_forward + slow_backward) + sends;
  return {seconds, seconds - count * most};
}

}  // namespace

extern constinit const Schedule gpipe;
constinit const Schedule gpipe = {.name = "gpipe",
                                  .order = 0,
                                  .help = "all forwards, then all backwards",
                                  .splits_weight = false,
                                  .weight_copies = 1,
                                  .illegal = illegal,
                                  .device = looped_device,
                                  .slots = slots,
                                  .in_flight = in_flight,
                                  .makespan = makespan};

}  // namespace tw::schedules
