#include <algorithm>
#include <array>
#include <utility>

#include "costmodel/schedules/slots.hpp"

namespace tw {

std::int32_t looped_device(const PipeShape& shape, std::int32_t chunk, std::int32_t) {
  return chunk % shape.pp;
}

std::int32_t vee_device(const PipeShape& shape, std::int32_t chunk, std::int32_t) {
  return chunk < shape.pp ? chunk : 2 * shape.pp - 1 - chunk;
}

std::string_view broken_size(const PipeShape& shape) {
  if (shape.pp < 1 || shape.vpp < 1) return "pp and vpp must be at least 1";
  if (shape.pp > kMaxStages) return "pp must be at most 256";
  if (shape.vpp > kMaxChunks / shape.pp) return "pp*vpp must be at most 1024";
  if (shape.microbatches < 1) return "at least one micro-batch per step is needed";
  return {};
}

namespace {

// Writes the slots of a device that two streams cross; each stream's passes go up by micro-batch.
class CrossingWriter {
 public:
  explicit CrossingWriter(const Crossing& crossing)
      : streams_{{{crossing.near, 0, 0}, {crossing.far, 0, 0}}} {}

  void forward(int stream) { slots_.push_back({Pass::forward, forward_number(stream), chunk(stream)}); }
  void backward(int stream) { slots_.push_back({Pass::backward, backward_number(stream), chunk(stream)}); }
  void split_backward(int stream) {
    const Slot slot{Pass::backward_input, backward_number(stream), chunk(stream)};
    slots_.push_back(slot);
    owed_.push_back({Pass::weight, slot.microbatch, slot.chunk});
  }
  void weight() { slots_.push_back(owed_[paid_++]); }
  void together(int forward_stream, int backward_stream) {
    const std::int32_t forward = forward_number(forward_stream);
    slots_.push_back({Pass::forward_backward, forward, chunk(forward_stream),
                      backward_number(backward_stream), chunk(backward_stream)});
  }
  std::vector<Slot> take() { return std::move(slots_); }

 private:
  struct State {
    Stream stream;
    std::int32_t forwards, backwards;
  };
  State& state(int stream) { return streams_[static_cast<std::size_t>(stream)]; }
  std::int32_t chunk(int stream) { return state(stream).stream.chunk; }
  std::int32_t forward_number(int stream) {
    return state(stream).stream.first_microbatch + state(stream).forwards++;
  }
  std::int32_t backward_number(int stream) {
    return state(stream).stream.first_microbatch + state(stream).backwards++;
  }

  std::array<State, 2> streams_;
  std::vector<Slot> slots_, owed_;
  std::size_t paid_ = 0;
};

constexpr int kNear = 0, kFar = 1;

void crossing_fill(CrossingWriter& out, const Crossing& crossing) {
  const std::int32_t inner = crossing.depths - crossing.depth - 1;
  for (std::int32_t i = 0; i < 2 * inner; ++i) out.forward(kNear);
  for (std::int32_t i = 0; i <= crossing.depth; ++i) {
    out.forward(kNear);
    out.forward(kFar);
  }
  for (std::int32_t i = 0; i < inner; ++i) {
    out.split_backward(kFar);
    out.weight();
    out.forward(kFar);
  }
}

void crossing_pairs(CrossingWriter& out, const Crossing& crossing) {
  const std::int32_t inner = crossing.depths - crossing.depth - 1;
  const std::int32_t rounds = crossing.microbatches - 2 * crossing.depths + crossing.depth + 1;
  for (std::int32_t i = 0; i < rounds; ++i) {
    out.together(kNear, kFar);
    out.together(kFar, kNear);
  }
  for (std::int32_t i = 0; i < inner; ++i) {
    out.backward(kFar);
    out.together(kFar, kNear);
  }
}

// The second half of the paired backwards, and all later ones, keep W for the end.
void crossing_drain(CrossingWriter& out, const Crossing& crossing) {
  const std::int32_t inner = crossing.depths - crossing.depth - 1;
  for (std::int32_t i = 0; i < 2 * (crossing.depth + 1); ++i) {
    const int stream = i % 2 == 0 ? kFar : kNear;
    if (i <= crossing.depth) {
      out.backward(stream);
    } else {
      out.split_backward(stream);
    }
  }
  for (std::int32_t i = 0; i < inner; ++i) {
    out.weight();
    out.split_backward(kNear);
  }
  for (std::int32_t i = 0; i <= crossing.depth; ++i) out.weight();
}

}  // namespace

std::vector<Slot> crossing_slots(const Crossing& crossing) {
  CrossingWriter out(crossing);
  crossing_fill(out, crossing);
  crossing_pairs(out, crossing);
  crossing_drain(out, crossing);
  return out.take();
}

// The first pair finds 2*depths micro-batches alive and starts one more (DeepSeek-V3, table 2: PP+1).
std::int32_t crossing_in_flight(std::int32_t depths, std::int32_t depth, bool near) {
  return near ? 2 * depths - depth : depth + 1;
}

// The first pair; a backward of the fill; the drain when no forward of the far stream is left, and when as
// many weight halves of the near one have taken the place of the oldest, which are of both in turn.
Held crossing_held(std::int32_t depths, std::int32_t depth, bool near, std::int32_t moment) {
  const std::int32_t inner = depths - depth - 1, waiting = depth + 1, far_waits = waiting / 2;
  switch (moment) {
    case 0:
      return {crossing_in_flight(depths, depth, near), 0};
    case 1:
      if (inner == 0) return {};
      return near ? Held{2 * inner + waiting, 0} : Held{depth, 1};
    case 2:
      return near ? Held{inner, waiting - far_waits} : Held{0, far_waits};
    default: {
      const std::int32_t later = std::min(inner, waiting);
      const std::int32_t far_done = waiting % 2 == 0 ? (later + 1) / 2 : later / 2;
      const std::int32_t far = std::max(far_waits - far_done, 0);
      return near ? Held{inner - later, waiting - far} : Held{0, far};
    }
  }
}

}  // namespace tw
