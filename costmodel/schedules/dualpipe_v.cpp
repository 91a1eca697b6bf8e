// DualPipe cut in half (Qi, "cut-in-half", 2025; the V form of DualPipe): one direction whose chunks
// go down the devices and back up, so that one weight copy is enough.
#include "costmodel/schedules/paths.hpp"
#include "costmodel/schedules/slots.hpp"

namespace tw::schedules {
namespace {

std::string_view illegal(const PipeShape& shape) {
  if (const std::string_view broken = broken_size(shape); !broken.empty()) return broken;
  if (shape.vpp != 2) return "dualpipe-v has two chunks per stage: vpp must be 2";
  if (shape.microbatches < 2 * shape.pp) return "dualpipe-v needs at least 2*pp micro-batches";
  return {};
}

std::vector<Slot> slots(const PipeShape& shape, std::int32_t stage) {
  return crossing_slots({.depth = stage,
                         .depths = shape.pp,
                         .microbatches = microbatch_count(shape),
                         .near = {stage, 0},
                         .far = {2 * shape.pp - 1 - stage, 0}});
}

std::int32_t in_flight(const PipeShape& shape, std::int32_t stage, std::int32_t chunk) {
  return crossing_in_flight(shape.pp, stage, chunk < shape.pp);
}

Held held(const PipeShape& shape, std::int32_t stage, std::int32_t chunk, std::int32_t moment) {
  return crossing_held(shape.pp, stage, chunk < shape.pp, moment);
}

}  // namespace

extern constinit const Schedule dualpipe_v;
constinit const Schedule dualpipe_v = {
    .name = "dualpipe-v",
    .order = 6,
    .help = "dualpipe cut in half: a V of two chunks per stage, one weight copy",
    .splits_weight = true,
    .weight_copies = 1,
    .illegal = illegal,
    .device = vee_device,
    .slots = slots,
    .in_flight = in_flight,
    .makespan = dualpipe_v_makespan,
    .moments = kCrossingMoments,
    .held = held};

}  // namespace tw::schedules
