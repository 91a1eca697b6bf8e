// ZB-H1 (Qi et al. 2023, arXiv 2401.10241, section 2.3 and figure 3): 1F1B with W split off. Stage s
// puts each W off by s micro-batches, so that every stage keeps as many micro-batches as 1F1B's
// first, and the postponed W fill the tail.
#include <algorithm>

#include "costmodel/schedules/paths.hpp"
#include "costmodel/schedules/slots.hpp"

namespace tw::schedules {
namespace {

std::string_view illegal(const PipeShape& shape) {
  if (shape.vpp != 1) return "zb-h1 has one chunk per stage: vpp must be 1";
  return broken_size(shape);
}

std::vector<Slot> slots(const PipeShape& shape, std::int32_t stage) {
  std::vector<Slot> out;
  const std::int32_t count = microbatch_count(shape);
  const std::int32_t warmup = one_f_one_b_warmup(shape, stage);
  for (std::int32_t i = 0; i < warmup; ++i) out.push_back({Pass::forward, i, stage});
  for (std::int32_t i = 0; i < count; ++i) {
    if (i + warmup < count) out.push_back({Pass::forward, i + warmup, stage});
    out.push_back({Pass::backward_input, i, stage});
    if (i >= stage) out.push_back({Pass::weight, i - stage, stage});
  }
  for (std::int32_t i = std::max(0, count - stage); i < count; ++i) out.push_back({Pass::weight, i, stage});
  return out;
}

std::int32_t in_flight(const PipeShape& shape, std::int32_t, std::int32_t) {
  return std::min(microbatch_count(shape), shape.pp);
}

// Every backward turns a forward into a weight half that waits: the last moment before the forwards get
// fewer, and the first with the most weight halves.
Held held(const PipeShape& shape, std::int32_t stage, std::int32_t, std::int32_t moment) {
  const std::int32_t count = microbatch_count(shape), full = one_f_one_b_warmup(shape, stage) + 1;
  if (moment == 0) return {full, std::min(stage, count - full)};
  const std::int32_t waiting = std::min(stage + 1, count);
  return {std::min(full, count - waiting + 1) - 1, waiting};
}

}  // namespace

extern constinit const Schedule zb_h1;
constinit const Schedule zb_h1 = {.name = "zb-h1",
                                  .order = 3,
                                  .help = "1f1b with weight gradients in the tail, same peak memory",
                                  .splits_weight = true,
                                  .weight_copies = 1,
                                  .illegal = illegal,
                                  .device = looped_device,
                                  .slots = slots,
                                  .in_flight = in_flight,
                                  .makespan = zb_h1_makespan,
                                  .moments = 2,
                                  .held = held};

}  // namespace tw::schedules
