#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "costmodel/schedules/schedule.hpp"
#include "costmodel/schedules/slots.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

const Schedule& named(std::string_view name) {
  const Schedule* row = find_row(all_schedules(), name);
  EXPECT_NE(row, nullptr) << name;
  return *row;
}

std::string text(const Schedule& schedule, const PipeShape& shape, std::int32_t stage) {
  std::string out;
  const auto pass = [](const char* kind, std::int32_t chunk, std::int32_t microbatch) {
    return kind + std::to_string(chunk) + "." + std::to_string(microbatch);
  };
  for (const Slot& slot : schedule.slots(shape, stage)) {
    if (!out.empty()) out += ' ';
    switch (slot.pass) {
      case Pass::forward:
        out += pass("F", slot.chunk, slot.microbatch);
        break;
      case Pass::backward:
        out += pass("B", slot.chunk, slot.microbatch);
        break;
      case Pass::backward_input:
        out += pass("I", slot.chunk, slot.microbatch);
        break;
      case Pass::weight:
        out += pass("W", slot.chunk, slot.microbatch);
        break;
      case Pass::forward_backward:
        out += pass("F", slot.chunk, slot.microbatch) + pass("+B", slot.paired_chunk, slot.paired_microbatch);
    }
  }
  return out;
}

struct Even {
  PipeShape shape;
  std::vector<ChunkTime> chunks;
  double send = 0;
  PipeTimes times() const { return {chunks, send}; }
};
Even even(std::int32_t pp, std::int32_t vpp, std::int64_t microbatches, ChunkTime chunk) {
  return {{pp, vpp, microbatches}, std::vector<ChunkTime>(static_cast<std::size_t>(pp * vpp), chunk), 0};
}

// The closed form and the played slots both give this bubble.
void expect_bubble(const Schedule& schedule, const Even& even, double bubble) {
  const Makespan closed = schedule.makespan(even.shape, even.times());
  const Makespan played = play(schedule, even.shape, even.times());
  EXPECT_NEAR(closed.bubble, bubble, 1e-10) << schedule.name << " pp " << even.shape.pp;
  EXPECT_NEAR(played.bubble, bubble, 1e-10) << schedule.name << " pp " << even.shape.pp;
  EXPECT_NEAR(closed.seconds, played.seconds, 1e-12 * played.seconds) << schedule.name;
}

TEST(Schedules, IndexIsTheOrderOfTheContract) {
  const char* names[] = {"gpipe", "1f1b", "interleaved", "zb-h1", "zb-v", "dualpipe", "dualpipe-v"};
  ASSERT_EQ(all_schedules().size(), std::size(names));
  for (std::uint8_t i = 0; i < std::size(names); ++i) EXPECT_EQ(schedule_at(i).name, names[i]);
}

TEST(Schedules, SlotsOfTwoStagesWrittenOut) {
  EXPECT_EQ(text(named("gpipe"), {2, 1, 2}, 0), "F0.0 F0.1 B0.1 B0.0");
  EXPECT_EQ(text(named("1f1b"), {2, 1, 2}, 0), "F0.0 F0.1 B0.0 B0.1");
  EXPECT_EQ(text(named("1f1b"), {2, 1, 2}, 1), "F1.0 B1.0 F1.1 B1.1");
  // Stage 1 puts W off by one micro-batch.
  EXPECT_EQ(text(named("zb-h1"), {2, 1, 2}, 0), "F0.0 F0.1 I0.0 W0.0 I0.1 W0.1");
  EXPECT_EQ(text(named("zb-h1"), {2, 1, 2}, 1), "F1.0 I1.0 F1.1 I1.1 W1.0 W1.1");
  // Warm-up (2-0-1)*2 + (2-1)*2 = 4 forwards on device 0, which are all; 2 on device 1.
  EXPECT_EQ(text(named("interleaved"), {2, 2, 2}, 0), "F0.0 F0.1 F2.0 F2.1 B2.0 B2.1 B0.0 B0.1");
  EXPECT_EQ(text(named("interleaved"), {2, 2, 2}, 1), "F1.0 F1.1 F3.0 B3.0 F3.1 B3.1 B1.0 B1.1");
}

// Micro-batches 0, 1 go down (copy 0) and 2, 3 up (copy 1); the shape is the same on both devices.
TEST(Schedules, DualpipeOfTwoStagesWrittenOut) {
  EXPECT_EQ(text(named("dualpipe"), {2, 1, 4}, 0), "F0.0 F1.2 F0.1+B1.2 F1.3+B0.0 B1.3 I0.1 W0.1");
  EXPECT_EQ(text(named("dualpipe"), {2, 1, 4}, 1), "F0.2 F1.0 F0.3+B1.0 F1.1+B0.2 B1.1 I0.3 W0.3");
  EXPECT_EQ(text(named("dualpipe-v"), {1, 2, 2}, 0), "F0.0 F1.0 F0.1+B1.0 F1.1+B0.0 B1.1 I0.1 W0.1");
}

TEST(Schedules, ZbVOfTwoStagesWrittenOut) {
  EXPECT_EQ(text(named("zb-v"), {2, 2, 4}, 0),
            "F0.0 F0.1 F0.2 F3.0 I3.0 W3.0 F3.1 I3.1 W3.1 F0.3 I0.0 W0.0 F3.2 I3.2 W3.2 "
            "I0.1 W0.1 F3.3 I3.3 W3.3 I0.2 W0.2 I0.3 W0.3");
}

TEST(Schedules, PlacementOfChunks) {
  EXPECT_EQ(named("interleaved").device({4, 2, 4}, 5, 0), 1);
  EXPECT_EQ(named("zb-v").device({4, 2, 8}, 4, 0), 3);
  EXPECT_EQ(named("zb-v").device({4, 2, 8}, 7, 0), 0);
  EXPECT_EQ(named("dualpipe").device({4, 1, 8}, 1, 0), 1);
  EXPECT_EQ(named("dualpipe").device({4, 1, 8}, 1, 1), 2);
}

TEST(Schedules, IllegalShapesSayWhy) {
  EXPECT_NE(named("1f1b").illegal({4, 2, 8}), "");
  EXPECT_NE(named("interleaved").illegal({4, 2, 6}), "");
  EXPECT_EQ(named("interleaved").illegal({4, 2, 8}), "");
  EXPECT_NE(named("zb-v").illegal({4, 2, 7}), "");
  EXPECT_NE(named("zb-v").illegal({4, 1, 8}), "");
  EXPECT_NE(named("dualpipe").illegal({3, 1, 8}), "");
  EXPECT_NE(named("dualpipe").illegal({4, 1, 6}), "");
  EXPECT_NE(named("dualpipe").illegal({4, 1, 9}), "");
  EXPECT_NE(named("dualpipe-v").illegal({4, 2, 7}), "");
  for (const Schedule* row : all_schedules()) {
    EXPECT_NE(row->illegal({0, row->order == 4 || row->order == 6 ? 2 : 1, 8}), "") << row->name;
    EXPECT_NE(row->illegal({2, row->order == 4 || row->order == 6 ? 2 : 1, 0}), "") << row->name;
  }
}

// pp=2, m=2, F=1, B=2 (whole), send 0.5, drawn by hand: stage 0 runs F0 0-1, F1 1-2; stage 1 F0
// 1.5-2.5, B0 2.5-4.5, F1 4.5-5.5, B1 5.5-7.5; stage 0 B0 5-7, B1 8-10. Work is 6, so 4 are idle.
TEST(Schedules, OneForwardOneBackwardWithSendsByHand) {
  Even job = even(2, 1, 2, {1, 1.5, 0.5});
  job.send = 0.5;
  expect_bubble(named("1f1b"), job, 4);
}

// pp=2, m=2, stage 0 F=1 B=2, stage 1 F=3 B=4 (whole): stage 1 F0 1-4, B0 4-8, F1 8-11, B1 11-15;
// stage 0 ends with B1 15-17. Stage 1 works 14: 3 are idle.
TEST(Schedules, UnevenStagesByHand) {
  Even job = even(2, 1, 2, {1, 1, 1});
  job.chunks[1] = {3, 2, 2};
  expect_bubble(named("1f1b"), job, 3);
  // gpipe: stage 1 F0 1-4, F1 4-7, B1 7-11, B0 11-15; stage 0 B0 15-17.
  expect_bubble(named("gpipe"), job, 3);
}

// Narayanan et al. 2021, section 2.2: bubble over ideal time (pp-1)/m, and (pp-1)/(m*vpp).
TEST(Schedules, PublishedBubblesOfFlushSchedules) {
  for (const std::int32_t pp : {2, 4, 8}) {
    for (const std::int64_t m : {8, 16, 64}) {
      const double chunk = 1.0 + 1.3 + 0.8;
      expect_bubble(named("gpipe"), even(pp, 1, m, {1, 1.3, 0.8}), (pp - 1) * chunk);
      expect_bubble(named("1f1b"), even(pp, 1, m, {1, 1.3, 0.8}), (pp - 1) * chunk);
      for (const std::int32_t vpp : {1, 2, 5}) {
        const double ideal = static_cast<double>(m) * vpp * chunk;
        const double bubble = ideal * (pp - 1) / static_cast<double>(m * vpp);
        expect_bubble(named("interleaved"), even(pp, vpp, m, {1, 1.3, 0.8}), bubble);
      }
    }
  }
}

// Qi et al. 2023, table 1: ZB-H1 idles (pp-1)(F+B-W), for B >= W and enough micro-batches; peak
// activations are those of 1F1B's first stage, pp micro-batches, on every stage.
TEST(Schedules, PublishedBubbleAndMemoryOfZbH1) {
  for (const std::int32_t pp : {2, 4, 8}) {
    expect_bubble(named("zb-h1"), even(pp, 1, 24, {1, 1.3, 0.8}), (pp - 1) * (1 + 1.3 - 0.8));
    expect_bubble(named("zb-h1"), even(pp, 1, 24, {1, 1, 1}), pp - 1);
    for (std::int32_t stage = 0; stage < pp; ++stage)
      EXPECT_EQ(named("zb-h1").in_flight({pp, 1, 24}, stage, stage), pp);
  }
}

// DeepSeek-V3 (arXiv 2412.19437), table 2, with B the whole backward: DualPipe idles
// (PP/2-1)(F&B + B - 3W) and keeps PP+1 activations. Here F&B = F + B = 3.1 (nothing hidden).
TEST(Schedules, PublishedBubbleAndMemoryOfDualpipe) {
  for (const std::int32_t pp : {2, 4, 8, 16}) {
    const double whole = 2.1, weight = 0.8;
    expect_bubble(named("dualpipe"), even(pp, 1, 3 * pp + 2, {1, 1.3, 0.8}),
                  (pp / 2 - 1) * (1 + whole + whole - 3 * weight));
    for (std::int32_t s = 0; s < pp; ++s) {
      const PipeShape shape{pp, 1, 2 * pp};
      EXPECT_EQ(named("dualpipe").in_flight(shape, s, s) + named("dualpipe").in_flight(shape, s, pp - 1 - s),
                pp + 1);
    }
  }
}

// pp=2, m=4, every pair hides 0.4 of F=1: a device runs F F, two pairs, a backward and the last B and
// W apart: 2 + 2*(1-0.4+2.1) + 2.1 + 2.1 = 11.6 and never waits.
TEST(Schedules, DualpipeHidesForwardsByHand) {
  const Even job = even(2, 1, 4, {1, 1.3, 0.8, 0.4});
  expect_bubble(named("dualpipe"), job, 0);
  EXPECT_NEAR(named("dualpipe").makespan(job.shape, job.times()).seconds, 11.6, 1e-12);
}

// Qi et al. 2023, section 6: with F = B = W no device of ZB-V idles between its first and its last
// slot; devices start k*F later down the V, which is all that the step's makespan adds. Peak: 2*pp
// half-stages, as 1F1B's first stage.
TEST(Schedules, ZbVHasNoBubbleInsideADevice) {
  for (const std::int32_t pp : {1, 2, 4, 8}) {
    const Even job = even(pp, 2, 3 * pp, {1, 1, 1});
    for (const StageSpan& span : play_stages(named("zb-v"), job.shape, job.times())) {
      EXPECT_NEAR(span.end - span.start, span.work, 1e-9);
    }
    expect_bubble(named("zb-v"), job, pp - 1);
  }
}

TEST(Schedules, OneStageNeverIdles) {
  for (const char* name : {"gpipe", "1f1b", "zb-h1"})
    expect_bubble(named(name), even(1, 1, 5, {1, 1.3, 0.8}), 0);
  for (const char* name : {"zb-v", "dualpipe-v"}) expect_bubble(named(name), even(1, 2, 5, {1, 1.3, 0.8}), 0);
}

// 1f1b, two stages, two micro-batches, forward 1 and backward 2: 0-1 F0, 1-2 F1, 3-5 waits for 4, ...
TEST(Schedules, PlayedSlotsSayWhen) {
  const Even job = even(2, 1, 2, {1, 2});
  const auto stages = play_slots(named("1f1b"), job.shape, job.times());
  const auto spans = play_stages(named("1f1b"), job.shape, job.times());
  ASSERT_EQ(stages.size(), 2u);
  std::vector<double> starts;
  for (const PlayedSlot& played : stages[0]) starts.push_back(played.start);
  EXPECT_EQ(starts, (std::vector<double>{0, 1, 4, 7}));  // stage 1 ends its backwards at 4 and 7
  EXPECT_EQ(stages[0].back().end, spans[0].end);
  EXPECT_EQ(stages[1].front().start, 1);
}

}  // namespace
}  // namespace tw
