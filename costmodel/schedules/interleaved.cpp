// Interleaved 1F1B (Narayanan et al. 2021, arXiv 2104.04473, section 2.2): each device holds vpp
// chunks and takes pp micro-batches through one chunk before it turns to the next.
#include <algorithm>

#include "costmodel/schedules/paths.hpp"
#include "costmodel/schedules/slots.hpp"

namespace tw::schedules {
namespace {

std::string_view illegal(const PipeShape& shape) {
  if (const std::string_view broken = broken_size(shape); !broken.empty()) return broken;
  if (shape.pp < 2) return "interleaved needs pp of at least 2";
  if (shape.microbatches % shape.pp != 0) return "interleaved needs micro-batches that are a multiple of pp";
  return {};
}

// The n-th forward of a stage; backwards go through the chunks from the last to the first.
Slot forward_at(const PipeShape& shape, std::int32_t stage, std::int32_t n) {
  const std::int32_t round = n / (shape.pp * shape.vpp), turn = n % (shape.pp * shape.vpp);
  return {Pass::forward, round * shape.pp + turn % shape.pp, turn / shape.pp * shape.pp + stage};
}
Slot backward_at(const PipeShape& shape, std::int32_t stage, std::int32_t n) {
  const Slot mirror = forward_at(shape, stage, n);
  const std::int32_t turn = mirror.chunk / shape.pp;
  return {Pass::backward, mirror.microbatch, (shape.vpp - 1 - turn) * shape.pp + stage};
}

std::vector<Slot> slots(const PipeShape& shape, std::int32_t stage) {
  std::vector<Slot> out;
  const std::int32_t count = microbatch_count(shape) * shape.vpp;
  const auto warmup = static_cast<std::int32_t>(interleaved_warmup(shape, stage));
  for (std::int32_t i = 0; i < warmup; ++i) out.push_back(forward_at(shape, stage, i));
  for (std::int32_t i = 0; i < count; ++i) {
    if (i + warmup < count) out.push_back(forward_at(shape, stage, i + warmup));
    out.push_back(backward_at(shape, stage, i));
  }
  return out;
}

// The peak comes with the forward after the warm-up: the first warmup+1 forwards are alive, in turns
// of pp per chunk.
std::int32_t in_flight(const PipeShape& shape, std::int32_t stage, std::int32_t chunk) {
  const auto alive = static_cast<std::int32_t>(interleaved_warmup(shape, stage)) + 1;
  const std::int32_t turn = chunk / shape.pp, round = shape.pp * shape.vpp;
  return alive / round * shape.pp + std::clamp(alive % round - turn * shape.pp, 0, shape.pp);
}

}  // namespace

extern constinit const Schedule interleaved;
constinit const Schedule interleaved = {.name = "interleaved",
                                        .order = 2,
                                        .help = "1f1b over vpp chunks per stage",
                                        .splits_weight = false,
                                        .weight_copies = 1,
                                        .illegal = illegal,
                                        .device = looped_device,
                                        .slots = slots,
                                        .in_flight = in_flight,
                                        .makespan = interleaved_makespan};

}  // namespace tw::schedules
