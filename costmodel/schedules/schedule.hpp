// A pipeline schedule: who runs which chunk of which micro-batch when. Slots are the truth that the
// Program and the simulator play; makespan is the closed form that the search uses, tested against
// the slots. Sources: GPipe (arXiv 1811.06965), 1F1B and interleaving (Narayanan et al. 2021, arXiv
// 2104.04473), zero bubble (Qi et al. 2023, arXiv 2401.10241), DualPipe (DeepSeek-V3, 2412.19437).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "topology/units.hpp"

namespace tw {

enum class Pass : std::uint8_t {
  forward,
  backward,         // whole: input and weight gradients
  backward_input,   // input-gradient half; a weight slot of the same chunk and micro-batch follows
  weight,           // weight-gradient half
  forward_backward  // a forward and a whole backward run together (DualPipe)
};

// One thing a stage does. For forward_backward, the backward is of (paired_microbatch, paired_chunk).
// dualpipe: micro-batches 0 .. m/2-1 run on copy 0 of the chunks, m/2 .. m-1 on copy 1.
struct Slot {
  Pass pass;
  std::int32_t microbatch;
  std::int32_t chunk;  // in model order, 0 .. pp*vpp-1 (dualpipe: 0 .. pp-1)
  std::int32_t paired_microbatch = -1;
  std::int32_t paired_chunk = -1;
  friend bool operator==(const Slot&, const Slot&) = default;
};

// Times of one chunk for one micro-batch, in seconds. A whole backward takes backward + weight.
struct ChunkTime {
  double forward = 0, backward = 0, weight = 0;
  double hidden = 0;  // what a forward of this chunk saves when it runs beside a backward
};

struct PipeShape {
  std::int32_t pp = 1, vpp = 1;
  std::int64_t microbatches = 1;
};

struct PipeTimes {
  std::span<const ChunkTime> chunks;  // pp*vpp, in model order
  double send = 0;                    // seconds to hand an activation (or gradient) to a neighbour,
                                      // on the critical path (zero when hidden)
};

struct Makespan {
  double seconds = 0;  // from the first forward to the end of the last slot of any stage
  double bubble = 0;   // of it, seconds in which the stage with the most work is idle
};

// Micro-batches of a chunk of which the forward is kept, and of which only weight halves are left to do.
struct Held {
  std::int32_t forwards = 0, deferred = 0;
};
inline constexpr std::int32_t kMostMoments = 6;

struct Schedule {
  std::string_view name;
  int order;  // also the index a Layout stores
  std::string_view help;
  bool splits_weight;          // some backwards run as backward_input and weight
  std::int32_t weight_copies;  // parameter copies per device (dualpipe: 2)
  // Empty when (pp, vpp, microbatches) is legal for this schedule, else the broken rule in words.
  std::string_view (*illegal)(const PipeShape& shape);
  // The stage (device) that holds a chunk; dualpipe holds each chunk twice: copy 0 and 1.
  std::int32_t (*device)(const PipeShape& shape, std::int32_t chunk, std::int32_t copy);
  // What one stage does, in order.
  std::vector<Slot> (*slots)(const PipeShape& shape, std::int32_t stage);
  // Micro-batches whose activations of `chunk` are alive on its device at the device's peak: the
  // first moment when their sum over the device's chunks is largest. Alive: from the start of the
  // forward to the end of the whole backward, or of the weight half where it is split off.
  std::int32_t (*in_flight)(const PipeShape& shape, std::int32_t stage, std::int32_t chunk);
  Makespan (*makespan)(const PipeShape& shape, const PipeTimes& times);
  // Where weight halves are split off: moments of which one is the device's peak, whatever a forward keeps
  // and a weight half needs (recomputation makes the first small and leaves the second). Else none.
  std::int32_t moments = 0;
  Held (*held)(const PipeShape& shape, std::int32_t stage, std::int32_t chunk, std::int32_t moment) = nullptr;
};
std::span<const Schedule* const> all_schedules();

// By the index a Layout stores.
const Schedule& schedule_at(std::uint8_t index);

// Plays the slots of all stages with the dependencies between neighbours: the oracle of makespan
// in tests. Linear in the slots; TW_CHECK on deadlock. A send is paid between devices only.
struct StageSpan {
  double start = 0, end = 0, work = 0;  // of the first slot, of the last slot, all slots together
};
std::vector<StageSpan> play_stages(const Schedule& schedule, const PipeShape& shape, const PipeTimes& times);
// When each slot of each stage runs, in the stage's order: for pictures.
struct PlayedSlot {
  Slot slot;
  double start = 0, end = 0;
};
std::vector<std::vector<PlayedSlot>> play_slots(const Schedule& schedule, const PipeShape& shape,
                                                const PipeTimes& times);
Makespan play(const Schedule& schedule, const PipeShape& shape, const PipeTimes& times);

}  // namespace tw
