#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

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
  return {{Pass::forward, slot.microbatch, slot.chunk},
          {Pass::backward, slot.paired_microbatch, slot.paired_chunk}};
}

// The order in which the passes of one micro-batch and chunk may come: F, then B or I W.
bool follows(Pass pass, int seen) {
  if (pass == Pass::forward) return seen == 0;
  if (pass == Pass::weight) return seen == 2;
  return seen == 1;
}
int after(Pass pass) {
  return pass == Pass::forward ? 1 : pass == Pass::backward_input ? 2 : 3;
}

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
std::map<std::int32_t, std::int32_t> peak_by_counting(const Schedule& schedule, const PipeShape& shape,
                                                      std::int32_t stage) {
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
          const bool here = schedule->device(shape, chunk, 0) == stage ||
                            schedule->device(shape, chunk, schedule->weight_copies - 1) == stage;
          if (!here) continue;
          ASSERT_EQ(schedule->in_flight(shape, stage, chunk), peak[chunk])
              << schedule->name << " pp " << shape.pp << " vpp " << shape.vpp << " m " << shape.microbatches
              << " stage " << stage;
        }
      }
    });
  }
}

// Weights of what a forward keeps and a weight half needs, by chunk.
struct Weights {
  std::int64_t kept[2], deferred[2];
};

// The most of a stage, counted over its slots; `far` says which chunk of the two.
std::int64_t most_by_counting(const Schedule& schedule, const PipeShape& shape, std::int32_t stage,
                              const Weights& w) {
  std::int64_t now = 0, most = 0;
  for (const Slot& slot : schedule.slots(shape, stage)) {
    for (const Slot& one : singles(slot)) {
      const std::size_t far = one.chunk < shape.pp * shape.vpp / 2 ? 0 : 1;
      if (one.pass == Pass::forward) now += w.kept[far];
      if (one.pass == Pass::backward || one.pass == Pass::backward_input) now -= w.kept[far];
      if (one.pass == Pass::backward_input) now += w.deferred[far];
      if (one.pass == Pass::weight) now -= w.deferred[far];
      most = std::max(most, now);
    }
  }
  return most;
}

// From recomputation of everything to what needs nothing for weights: one of the moments is the peak.
TEST(SchedulesProperty, OneOfTheMomentsIsThePeak) {
  const Weights cases[] = {{{10, 10}, {10, 10}}, {{1, 1}, {12, 12}}, {{10, 10}, {4, 4}}, {{1, 3}, {12, 9}},
                           {{3, 1}, {9, 12}},    {{9, 14}, {9, 8}},  {{10, 1}, {0, 30}}, {{1, 10}, {30, 0}}};
  for (const Schedule* schedule : all_schedules()) {
    if (schedule->moments == 0) continue;
    each_shape(*schedule, [&](const PipeShape& shape) {
      for (std::int32_t stage = 0; stage < shape.pp; ++stage) {
        for (const Weights& w : cases) {
          std::int64_t most = 0;
          for (std::int32_t moment = 0; moment < schedule->moments; ++moment) {
            std::int64_t sum = 0;
            for (std::int32_t chunk = 0; chunk < shape.pp * shape.vpp; ++chunk) {
              for (std::int32_t copy = 0; copy < schedule->weight_copies; ++copy) {
                if (schedule->device(shape, chunk, copy) != stage) continue;
                const std::size_t far = chunk < shape.pp * shape.vpp / 2 ? 0 : 1;
                const Held held = schedule->held(shape, stage, chunk, moment);
                sum += held.forwards * w.kept[far] + held.deferred * w.deferred[far];
              }
            }
            most = std::max(most, sum);
          }
          const std::int64_t counted = most_by_counting(*schedule, shape, stage, w);
          if (schedule->name.starts_with("dualpipe")) {  // the drain in two moments
            ASSERT_LE(most, counted) << schedule->name;
            const bool both = w.deferred[0] > 0 && w.deferred[1] > 0;
            ASSERT_GE(most, both ? counted * 9 / 10 : 0) << schedule->name;
            continue;
          }
          ASSERT_EQ(most, counted) << schedule->name << " pp " << shape.pp << " m " << shape.microbatches
                                   << " stage " << stage << " kept " << w.kept[0] << " " << w.kept[1]
                                   << " deferred " << w.deferred[0] << " " << w.deferred[1];
        }
      }
    });
  }
}

// One RapidCheck draw seeds a case: thousands of draws per case would take minutes.
class Draw {
 public:
  Draw() : engine_(*rc::gen::arbitrary<std::uint32_t>()) {}
  double real(double low, double high) { return std::uniform_real_distribution<>(low, high)(engine_); }
  std::int32_t whole(std::int32_t low, std::int32_t high) {
    return std::uniform_int_distribution<std::int32_t>(low, high)(engine_);
  }
  PipeShape shape(const Schedule& schedule) {
    while (true) {
      PipeShape shape{whole(1, 12), whole(1, 4), whole(1, 60)};
      if (schedule.name == "interleaved") shape.microbatches = shape.pp * whole(1, 5);
      if (schedule.illegal(shape).empty()) return shape;
    }
  }

 private:
  std::mt19937 engine_;
};

RC_GTEST_PROP(SchedulesProperty, ClosedFormIsExactForEvenChunks, ()) {
  Draw draw;
  for (const Schedule* schedule : all_schedules()) {
    const PipeShape shape = draw.shape(*schedule);
    ChunkTime chunk{draw.real(0.5, 1.5), draw.real(0.5, 1.5), draw.real(0.3, 1.5), draw.real(0, 0.2)};
    // The range of zb-v's formula.
    if (schedule->name == "zb-v") chunk.forward = std::min(chunk.forward, chunk.backward + chunk.weight);
    const std::vector<ChunkTime> chunks(static_cast<std::size_t>(shape.pp * shape.vpp), chunk);
    // Sends of the schedules in two directions and of zb-v are approximate.
    const PipeTimes times{chunks, schedule->order <= 3 ? draw.real(0, 0.05) : 0};
    const double played = play(*schedule, shape, times).seconds;
    RC_ASSERT(std::fabs(schedule->makespan(shape, times).seconds - played) <= 1e-12 * played);
  }
}

// gpipe and 1f1b are exact for any stages without sends.
RC_GTEST_PROP(SchedulesProperty, ClosedFormIsExactForUnevenStages, ()) {
  Draw draw;
  for (const std::uint8_t index : {std::uint8_t{0}, std::uint8_t{1}}) {
    const Schedule& schedule = schedule_at(index);
    const PipeShape shape = draw.shape(schedule);
    std::vector<ChunkTime> chunks(static_cast<std::size_t>(shape.pp));
    for (ChunkTime& chunk : chunks) chunk = {draw.real(0.5, 1.5), draw.real(0.5, 1.5), draw.real(0.3, 1.5)};
    const double played = play(schedule, shape, {chunks, 0}).seconds;
    RC_ASSERT(std::fabs(schedule.makespan(shape, {chunks, 0}).seconds - played) <= 1e-12 * played);
  }
}

RC_GTEST_PROP(SchedulesProperty, NeverFasterThanTheBusiestStageOrOneMicrobatch, ()) {
  Draw draw;
  for (const Schedule* schedule : all_schedules()) {
    const PipeShape shape = draw.shape(*schedule);
    std::vector<ChunkTime> chunks(static_cast<std::size_t>(shape.pp * shape.vpp));
    double pass_through = 0;
    for (ChunkTime& chunk : chunks) {
      chunk = {draw.real(0.5, 1.5), draw.real(0.5, 1.5), draw.real(0.3, 1.5), 0};
      pass_through += chunk.forward + chunk.backward;
    }
    const Makespan played = play(*schedule, shape, {chunks, 0});
    RC_ASSERT(played.seconds >= pass_through * (1 - 1e-12));
    RC_ASSERT(played.bubble >= -1e-9 * played.seconds);
    RC_ASSERT(schedule->makespan(shape, {chunks, 0}).bubble >= -1e-9 * played.seconds);
    RC_ASSERT(play(*schedule, shape, {chunks, 0.1}).seconds >= played.seconds);
  }
}

}  // namespace
}  // namespace tw
