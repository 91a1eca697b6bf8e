// DualPipe (DeepSeek-V3, arXiv 2412.19437, section 3.2.1 and figure 5): micro-batches enter from
// both ends, each device holds chunk s of one direction and chunk pp-1-s of the other, and forwards
// of one direction run together with backwards of the other.
#include "costmodel/schedules/paths.hpp"
#include "costmodel/schedules/slots.hpp"

namespace tw::schedules {
namespace {

std::string_view illegal(const PipeShape& shape) {
  if (shape.vpp != 1) return "dualpipe has one chunk per stage and direction: vpp must be 1";
  if (const std::string_view broken = broken_size(shape); !broken.empty()) return broken;
  if (shape.pp % 2 != 0) return "dualpipe needs an even pp";
  if (shape.microbatches % 2 != 0 || shape.microbatches < 2 * shape.pp) {
    return "dualpipe needs an even number of micro-batches, at least 2*pp";
  }
  return {};
}

std::int32_t device(const PipeShape& shape, std::int32_t chunk, std::int32_t copy) {
  return copy == 0 ? chunk : shape.pp - 1 - chunk;
}

std::vector<Slot> slots(const PipeShape& shape, std::int32_t stage) {
  const std::int32_t half = microbatch_count(shape) / 2, opposite = shape.pp - 1 - stage;
  const Stream down{stage, 0}, up{opposite, half};
  const bool first_half = stage < opposite;
  return crossing_slots({.depth = first_half ? stage : opposite,
                         .depths = shape.pp / 2,
                         .microbatches = half,
                         .near = first_half ? down : up,
                         .far = first_half ? up : down});
}

std::int32_t in_flight(const PipeShape& shape, std::int32_t stage, std::int32_t chunk) {
  const std::int32_t opposite = shape.pp - 1 - stage;
  return crossing_in_flight(shape.pp / 2, stage < opposite ? stage : opposite, chunk < shape.pp / 2);
}

Held held(const PipeShape& shape, std::int32_t stage, std::int32_t chunk, std::int32_t moment) {
  const std::int32_t opposite = shape.pp - 1 - stage;
  return crossing_held(shape.pp / 2, stage < opposite ? stage : opposite, chunk < shape.pp / 2, moment);
}

}  // namespace

extern constinit const Schedule dualpipe;
constinit const Schedule dualpipe = {
    .name = "dualpipe",
    .order = 5,
    .help = "both directions at once, forward and backward together; two weight copies",
    .splits_weight = true,
    .weight_copies = 2,
    .illegal = illegal,
    .device = device,
    .slots = slots,
    .in_flight = in_flight,
    .makespan = dualpipe_makespan,
    .moments = kCrossingMoments,
    .held = held};

}  // namespace tw::schedules
