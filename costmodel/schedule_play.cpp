#include <algorithm>

#include "costmodel/schedules/schedule.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

constexpr double kNotYet = -1;

class Player {
 public:
  Player(const Schedule& schedule, const PipeShape& shape, const PipeTimes& times)
      : schedule_(schedule),
        shape_(shape),
        times_(times),
        chunks_(static_cast<std::int32_t>(times.chunks.size())) {
    const std::size_t cells = times.chunks.size() * static_cast<std::size_t>(shape.microbatches);
    forward_.assign(cells, kNotYet);
    backward_.assign(cells, kNotYet);
    for (std::int32_t stage = 0; stage < shape.pp; ++stage)
      stages_.push_back({schedule.slots(shape, stage), 0, {}});
  }

  std::vector<StageSpan> run() {
    for (std::int32_t stage = 0; stage < shape_.pp; ++stage) ready_.push_back(stage);
    while (!ready_.empty()) {
      const std::int32_t stage = ready_.back();
      ready_.pop_back();
      advance(stage);
    }
    std::vector<StageSpan> spans;
    for (const StageState& state : stages_) {
      TW_CHECK(state.next == state.slots.size());
      spans.push_back(state.span);
    }
    return spans;
  }
  // The same, and when each slot ran.
  std::vector<std::vector<PlayedSlot>> run_recorded() {
    played_.resize(stages_.size());
    run();
    return std::move(played_);
  }

 private:
  struct StageState {
    std::vector<Slot> slots;
    std::size_t next = 0;
    StageSpan span;
  };

  std::int32_t device(std::int32_t chunk, std::int32_t microbatch) const {
    const bool second = schedule_.weight_copies == 2 && microbatch >= shape_.microbatches / 2;
    return schedule_.device(shape_, chunk, second ? 1 : 0);
  }
  std::size_t cell(std::int32_t chunk, std::int32_t microbatch) const {
    return static_cast<std::size_t>(microbatch) * times_.chunks.size() + static_cast<std::size_t>(chunk);
  }
  const ChunkTime& time(std::int32_t chunk) const { return times_.chunks[static_cast<std::size_t>(chunk)]; }
  double hop(std::int32_t from, std::int32_t to, std::int32_t microbatch) const {
    return device(from, microbatch) == device(to, microbatch) ? 0 : times_.send;
  }

  // When the input of a pass is on its device; kNotYet while its producer has not run.
  double forward_input(std::int32_t chunk, std::int32_t microbatch) const {
    if (chunk == 0) return 0;
    const double done = forward_[cell(chunk - 1, microbatch)];
    return done == kNotYet ? kNotYet : done + hop(chunk - 1, chunk, microbatch);
  }
  double backward_input(std::int32_t chunk, std::int32_t microbatch) const {
    const double own = forward_[cell(chunk, microbatch)];
    if (own == kNotYet || chunk == chunks_ - 1) return own;
    const double done = backward_[cell(chunk + 1, microbatch)];
    return done == kNotYet ? kNotYet : std::max(own, done + hop(chunk + 1, chunk, microbatch));
  }
  double input(const Slot& slot) const {
    switch (slot.pass) {
      case Pass::forward:
        return forward_input(slot.chunk, slot.microbatch);
      case Pass::weight:
        return backward_[cell(slot.chunk, slot.microbatch)];
      case Pass::forward_backward:
        break;
      default:
        return backward_input(slot.chunk, slot.microbatch);
    }
    const double one = forward_input(slot.chunk, slot.microbatch);
    const double other = backward_input(slot.paired_chunk, slot.paired_microbatch);
    return one == kNotYet || other == kNotYet ? kNotYet : std::max(one, other);
  }
  double duration(const Slot& slot) const {
    const ChunkTime& own = time(slot.chunk);
    switch (slot.pass) {
      case Pass::forward:
        return own.forward;
      case Pass::backward:
        return own.backward + own.weight;
      case Pass::backward_input:
        return own.backward;
      case Pass::weight:
        return own.weight;
      case Pass::forward_backward:
        break;
    }
    const ChunkTime& paired = time(slot.paired_chunk);
    return own.forward - own.hidden + paired.backward + paired.weight;
  }

  void finish_forward(std::int32_t chunk, std::int32_t microbatch, double end) {
    forward_[cell(chunk, microbatch)] = end;
    if (chunk + 1 < chunks_) ready_.push_back(device(chunk + 1, microbatch));
  }
  void finish_backward(std::int32_t chunk, std::int32_t microbatch, double end) {
    backward_[cell(chunk, microbatch)] = end;
    if (chunk > 0) ready_.push_back(device(chunk - 1, microbatch));
  }
  void finish(const Slot& slot, double end) {
    switch (slot.pass) {
      case Pass::forward:
        return finish_forward(slot.chunk, slot.microbatch, end);
      case Pass::weight:
        return;
      case Pass::forward_backward:
        finish_forward(slot.chunk, slot.microbatch, end);
        return finish_backward(slot.paired_chunk, slot.paired_microbatch, end);
      default:
        return finish_backward(slot.chunk, slot.microbatch, end);
    }
  }

  // Runs the slots of one stage until one waits for another stage, which will wake it.
  void advance(std::int32_t stage) {
    StageState& state = stages_[static_cast<std::size_t>(stage)];
    for (; state.next < state.slots.size(); ++state.next) {
      const Slot& slot = state.slots[state.next];
      const double available = input(slot);
      if (available == kNotYet) return;
      const double start = std::max(available, state.span.end);
      if (state.next == 0) state.span.start = start;
      state.span.end = start + duration(slot);
      state.span.work += duration(slot);
      if (!played_.empty()) played_[static_cast<std::size_t>(stage)].push_back({slot, start, state.span.end});
      finish(slot, state.span.end);
    }
  }

  const Schedule& schedule_;
  PipeShape shape_;
  PipeTimes times_;
  std::int32_t chunks_;
  std::vector<double> forward_, backward_;  // end of each pass, by micro-batch and chunk
  std::vector<StageState> stages_;
  std::vector<std::vector<PlayedSlot>> played_;  // empty: not asked for
  std::vector<std::int32_t> ready_;
};

}  // namespace

const Schedule& schedule_at(std::uint8_t index) {
  const auto rows = all_schedules();
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const Schedule* row) { return row->order == index; });
  TW_CHECK(found != rows.end());
  return **found;
}

std::vector<StageSpan> play_stages(const Schedule& schedule, const PipeShape& shape, const PipeTimes& times) {
  TW_CHECK(schedule.illegal(shape).empty());
  return Player(schedule, shape, times).run();
}

std::vector<std::vector<PlayedSlot>> play_slots(const Schedule& schedule, const PipeShape& shape,
                                                const PipeTimes& times) {
  TW_CHECK(schedule.illegal(shape).empty());
  return Player(schedule, shape, times).run_recorded();
}

Makespan play(const Schedule& schedule, const PipeShape& shape, const PipeTimes& times) {
  Makespan result;
  double most = 0;
  for (const StageSpan& span : play_stages(schedule, shape, times)) {
    result.seconds = std::max(result.seconds, span.end);
    most = std::max(most, span.work);
  }
  result.bubble = result.seconds - most;
  return result;
}

}  // namespace tw
