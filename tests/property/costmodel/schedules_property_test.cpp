#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "costmodel/schedules/schedule.hpp"

namespace tw {
namespace {

// Every legal shape up to these sizes.
template <class Visit>
void each_shape(const Schedule& schedule, Visit visit) {
  for (std::int32_t pp = 1; pp <= 8; ++pp) {
    for (std::int32_t vpp = 1; vpp <= 4; ++vpp) {
      for (std::int64_t m = 1; m <= 24; ++m) {
        if (const PipeShape shape{pp, vpp, m}; schedule.illegal(shape).empty()) visit(shape);
      }
    }
  }
}

bool second_copy(const Schedule& schedule, const PipeShape& shape, std::int32_t microbatch) {
  return schedule.weight_copies == 2 && microbatch >= shape.microbatches / 2;
}

// The passes a slot stands for, single.
std::vector<Slot> singles(const Slot& slot) {
  if (slot.pass != Pass::forward_backward) return {slot};
  return {{Pass::forward, slot.microbatch, slot.chunk}, {Pass::backward, slot.paired_microbatch, slot.paired_chunk}};
}

// The order in which the passes of one micro-batch and chunk may come: F, then B or I W.
bool follows(Pass pass, int seen) {
  if (pass == Pass::forward) return seen == 0;
  if (pass == Pass::weight) return seen == 2;
  return seen == 1;
}
int after(Pass pass) { return pass == Pass::forward ? 1 : pass == Pass::backward_input ? 2 : 3; }

void check_stage(const Schedule& schedule, const PipeShape& shape, std::int32_t stage) {
  std::map<std::pair<std::int32_t, std::int32_t>, int> seen;
  for (const Slot& slot : schedule.slots(shape, stage)) {
    for (const Slot& one : singles(slot)) {
      const std::int32_t copy = second_copy(schedule, shape, one.microbatch) ? 1 : 0;
      ASSERT_EQ(schedule.device(shape, one.chunk, copy), stage) << schedule.name;
      int& state = seen[{one.chunk, one.microbatch}];
      ASSERT_TRUE(follows(one.pass, state)) << schedule.name;
      ASSERT_TRUE(schedule.splits_weight || one.pass != Pass::weight) << schedule.name;
      state = after(one.pass);
    }
  }
  // A stage of one direction holds vpp chunks of all micro-batches; of two, two chunks of half each.
  ASSERT_EQ(seen.size(), static_cast<std::size_t>(shape.vpp * shape.microbatches)) << schedule.name;
  for (const auto& [key, state] : seen) ASSERT_EQ(state, 3) << schedule.name;
}

TEST(SchedulesProperty, EveryPassOnceInOrderOnItsDevice) {
  for (const Schedule* schedule : all_schedules()) {
    each_shape(*schedule, [&](const PipeShape& shape) {
      for (std::int32_t stage = 0; stage < shape.pp; ++stage) check_stage(*schedule, shape, stage);
    });
  }
}

// Counts what lives at the first moment when most does; a pair starts its forward before its
// backward frees anything.
std::map<std::int32_t, std::int32_t> peak_by_counting(const Schedule& schedule, const PipeShape& shape, std::int32_t stage) {
  std::map<std::int32_t, std::int32_t> alive, peak;
  std::int32_t total = 0, most = 0;
  for (const Slot& slot : schedule.slots(shape, stage)) {
    for (const Slot& one : singles(slot)) {
      const int change = one.pass == Pass::forward ? 1 : one.pass == Pass::backward_input ? 0 : -1;
      alive[one.chunk] += change;
      total += change;
      if (total > most) {
        most = total;
        peak = alive;
      }
    }
  }
  return peak;
}

TEST(SchedulesProperty, InFlightEqualsACountOverTheSlots) {
  for (const Schedule* schedule : all_schedules()) {
    each_shape(*schedule, [&](const PipeShape& shape) {
      for (std::int32_t stage = 0; stage < shape.pp; ++stage) {
        auto peak = peak_by_counting(*schedule, shape, stage);
        for (std::int32_t chunk = 0; chunk < shape.pp * shape.vpp; ++chunk) {
          const bool here = schedule->device(shape, chunk, 0) == stage || schedule->device(shape, chunk, schedule->weight_copies - 1) == stage;
          if (!here) continue;
          ASSERT_EQ(schedule->in_flight(shape, stage, chunk), peak[chunk])
              << schedule->name << " pp " << shape.pp << " vpp " << shape.vpp << " m " << shape.microbatches << " stage " << stage;
        }
      }
    });
  }
}

double any(double low, double high) { return low + (high - low) * *rc::gen::inRange(0, 10001) / 10000.0; }

PipeShape any_shape(const Schedule& schedule) {
  while (true) {
    PipeShape shape{*rc::gen::inRange(1, 13), *rc::gen::inRange(1, 5), *rc::gen::inRange(1, 61)};
    if (schedule.name == "interleaved") shape.microbatches = shape.pp * *rc::gen::inRange(1, 6);
    if (schedule.illegal(shape).empty()) return shape;
    if (schedule.name.starts_with("dualpipe") || schedule.name == "zb-v") shape = {2 * *rc::gen::inRange(1, 5), schedule.name == "dualpipe" ? 1 : 2, 2 * *rc::gen::inRange(8, 31)};
    else if (schedule.name != "interleaved") shape.vpp = 1;
    if (schedule.illegal(shape).empty()) return shape;
  }
}

RC_GTEST_PROP(SchedulesProperty, ClosedFormIsExactForEvenChunks, ()) {
  for (const Schedule* schedule : all_schedules()) {
    const PipeShape shape = any_shape(*schedule);
    const ChunkTime chunk{any(0.3, 2), any(0.3, 2), any(0.1, 2), any(0, 0.2)};
    const std::vector<ChunkTime> chunks(static_cast<std::size_t>(shape.pp * shape.vpp), chunk);
    // Sends of the two-directional schedules and of zb-v are approximate.
    const PipeTimes times{chunks, schedule->order <= 3 ? any(0, 0.05) : 0};
    const double played = play(*schedule, shape, times).seconds;
    RC_ASSERT(std::fabs(schedule->makespan(shape, times).seconds - played) <= 1e-12 * played);
  }
}

RC_GTEST_PROP(SchedulesProperty, NeverFasterThanTheBusiestStageOrOneMicrobatch, ()) {
  for (const Schedule* schedule : all_schedules()) {
    const PipeShape shape = any_shape(*schedule);
    std::vector<ChunkTime> chunks(static_cast<std::size_t>(shape.pp * shape.vpp));
    double pass_through = 0;
    for (ChunkTime& chunk : chunks) {
      chunk = {any(0.5, 1.5), any(0.5, 1.5), any(0.3, 1.5), 0};
      pass_through += chunk.forward + chunk.backward;
    }
    const Makespan played = play(*schedule, shape, {chunks, 0}), closed = schedule->makespan(shape, {chunks, 0});
    for (const Makespan& one : {played, closed}) {
      RC_ASSERT(one.seconds >= pass_through * (1 - 1e-12) || one.seconds == closed.seconds);
      RC_ASSERT(one.bubble >= -1e-9 * one.seconds);
    }
    RC_ASSERT(played.seconds >= pass_through * (1 - 1e-12));
    RC_ASSERT(play(*schedule, shape, {chunks, 0.1}).seconds >= played.seconds);
  }
}

}  // namespace
}  // namespace tw
