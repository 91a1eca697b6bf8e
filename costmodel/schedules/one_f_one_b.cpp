// One forward, one backward (PipeDream-flush; Narayanan et al. 2021, arXiv 2104.04473, section 2.2).
#include <algorithm>

#include "costmodel/schedules/paths.hpp"
#include "costmodel/schedules/slots.hpp"

namespace tw::schedules {
namespace {

std::string_view illegal(const PipeShape& shape) {
  if (shape.vpp != 1) return "1f1b has one chunk per stage: vpp must be 1 (interleaved takes more)";
  return broken_size(shape);
}

std::vector<Slot> slots(const PipeShape& shape, std::int32_t stage) {
  std::vector<Slot> out;
  const std::int32_t count = microbatch_count(shape);
  const std::int32_t warmup = one_f_one_b_warmup(shape, stage);
  for (std::int32_t i = 0; i < warmup; ++i) out.push_back({Pass::forward, i, stage});
  for (std::int32_t i = 0; i < count; ++i) {
    if (i + warmup < count) out.push_back({Pass::forward, i + warmup, stage});
    out.push_back({Pass::backward, i, stage});
  }
  return out;
}

std::int32_t in_flight(const PipeShape& shape, std::int32_t stage, std::int32_t) {
  return one_f_one_b_warmup(shape, stage) + 1;
}

}  // namespace

extern constinit const Schedule one_f_one_b;
constinit const Schedule one_f_one_b = {.name = "1f1b",
                                        .order = 1,
                                        .help = "one forward, one backward, with a flush",
                                        .splits_weight = false,
                                        .weight_copies = 1,
                                        .illegal = illegal,
                                        .device = looped_device,
                                        .slots = slots,
                                        .in_flight = in_flight,
                                        .makespan = one_f_one_b_makespan};

}  // namespace tw::schedules
