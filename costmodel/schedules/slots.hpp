// What several schedules share: placements of chunks on devices, the orders of slots, and the sums
// that their closed forms need.
#pragma once

#include "costmodel/schedules/schedule.hpp"

namespace tw {

// Placements. Looped: chunk c on device c mod pp (Narayanan et al. 2021, section 2.2). Vee: down
// the devices and back up (Qi et al. 2023, section 6).
std::int32_t looped_device(const PipeShape& shape, std::int32_t chunk, std::int32_t copy);
std::int32_t vee_device(const PipeShape& shape, std::int32_t chunk, std::int32_t copy);

inline std::int32_t microbatch_count(const PipeShape& shape) {
  return static_cast<std::int32_t>(shape.microbatches);
}
// Closed forms keep a few numbers per stage on the stack.
inline constexpr std::int32_t kMaxStages = 256, kMaxChunks = 1024;
// Rules that every schedule has; empty when kept.
std::string_view broken_size(const PipeShape& shape);

// Forwards before the first backward under 1F1B, with fewer micro-batches than stages too.
inline std::int32_t one_f_one_b_warmup(const PipeShape& shape, std::int32_t stage) {
  const std::int64_t last = shape.microbatches - 1;
  const std::int64_t deep = shape.pp - 1 - stage;
  return static_cast<std::int32_t>(last < deep ? last : deep);
}

// One of the two streams of micro-batches that cross a device: the chunk it runs there and the
// number of its first micro-batch.
struct Stream {
  std::int32_t chunk = 0, first_microbatch = 0;
};
// The eight steps of DualPipe on a device at distance `depth` from its end, of `depths` distances;
// `near` enters the pipeline at that end, `far` comes from the other.
struct Crossing {
  std::int32_t depth = 0, depths = 0, microbatches = 0;  // micro-batches of each stream
  Stream near, far;
};
std::vector<Slot> crossing_slots(const Crossing& crossing);
// Micro-batches of the near or far stream that are alive at the device's peak.
std::int32_t crossing_in_flight(std::int32_t depths, std::int32_t depth, bool near);
inline constexpr std::int32_t kCrossingMoments = 4;
Held crossing_held(std::int32_t depths, std::int32_t depth, bool near, std::int32_t moment);

}  // namespace tw
