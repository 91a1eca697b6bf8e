// Interleaved 1F1B: the longest path through the slots, as for 1F1B, over the turns of pp
// micro-batches that a device gives to each of its chunks. With even chunks a device that has begun
// its backwards never waits; waits inside the steady part between uneven chunks are left out
// (derived; sends below half a chunk).
#include <algorithm>
#include <array>

#include "costmodel/schedules/paths.hpp"
#include "costmodel/schedules/slots.hpp"

namespace tw {
namespace {

std::size_t at(std::int32_t i) {
  return static_cast<std::size_t>(i);
}

// Passes of one direction from the start of the step. The backwards, seen from the end of the step,
// are the same flow: chunk 0 comes last and each device ends with pp of it.
class Flow {
 public:
  Flow(const PipeShape& shape, const PipeTimes& times, bool backward)
      : pp_(shape.pp), vpp_(shape.vpp), send_(times.send), chunks_(times.chunks), backward_(backward) {
    sums_[0] = 0;
    sums_[1] = time(0);
    for (std::int32_t c = 1; c < pp_ * vpp_; ++c) sums_[at(c + 1)] = sums_[at(c)] + time(c);
    for (std::int32_t j = 0; j < pp_; ++j) reach_[at(j)] = reach(j);
  }

  double time(std::int32_t chunk) const {
    const ChunkTime& t = chunks_[at(chunk)];
    return backward_ ? t.backward + t.weight : t.forward;
  }
  std::int32_t last_chunk(std::int32_t device) const { return (vpp_ - 1) * pp_ + device; }
  double of_device(std::int32_t device) const {
    double sum = 0;
    for (std::int32_t v = 0; v < vpp_; ++v) sum += time(v * pp_ + device);
    return sum;
  }

  // The longest path to the end of pass n of device u, for n from the last chunk's first turn on:
  // down to a device j, its passes up to n, then down to u with that micro-batch.
  double until(std::int32_t u, std::int64_t n) const {
    const auto beyond = static_cast<std::int32_t>(n - std::int64_t{vpp_ - 1} * pp_);
    const std::int32_t row = beyond < pp_ ? (vpp_ - 1) * pp_ : 0;
    double longest = 0;
    for (std::int32_t j = 0; j <= u; ++j) {
      const double down = sums_[at(row + u + 1)] - sums_[at(row + j + 1)] + (u - j) * send_;
      longest = std::max(longest, reach_[at(j)] + tail(j, beyond) + down);
    }
    return longest;
  }

  // The first n+1 passes of a device, for the same n.
  double work_until(std::int32_t device, std::int64_t n) const {
    const auto beyond = static_cast<std::int32_t>(n - std::int64_t{vpp_ - 1} * pp_);
    return pp_ * (of_device(device) - time(last_chunk(device))) + time(last_chunk(device)) +
           tail(device, beyond);
  }

 private:
  // To the end of the last chunk's first pass on device j. From one turn to the next the path stays,
  // or goes round all devices with the first micro-batch of the turn.
  double reach(std::int32_t j) const {
    double path = sums_[at(j + 1)] + j * send_;
    for (std::int32_t c = j; c + pp_ < pp_ * vpp_; c += pp_) {
      const double stay = (pp_ - 1) * time(c) + time(c + pp_);
      const double round = sums_[at(c + pp_ + 1)] - sums_[at(c + 1)] + pp_ * send_;
      path += std::max(stay, round);
    }
    return path;
  }
  // `beyond` passes after that one: the rest of the last chunk's turn, then chunk 0 again.
  double tail(std::int32_t j, std::int32_t beyond) const {
    const std::int32_t rest = std::min(beyond, pp_ - 1);
    return rest * time(last_chunk(j)) + (beyond - rest) * time(j);
  }

  std::int32_t pp_, vpp_;
  double send_;
  std::span<const ChunkTime> chunks_;
  bool backward_;
  std::array<double, kMaxChunks + 1> sums_;
  std::array<double, kMaxStages> reach_;
};

struct Neighbour {
  double fill = 0, drain = 0;  // of the device below; see schedule_paths.cpp
};

class InterleavedPaths {
 public:
  InterleavedPaths(const PipeShape& shape, const PipeTimes& times)
      : shape_(shape), send_(times.send), forward_(shape, times, false), backward_(shape, times, true) {}

  Makespan longest() const {
    Makespan result;
    double most = 0;
    Neighbour below;
    for (std::int32_t s = shape_.pp - 1; s >= 0; --s) {
      const double work = forward_.of_device(s) + backward_.of_device(s);
      most = std::max(most, work);
      result.seconds = std::max(result.seconds, through(s, work, below));
    }
    result.bubble = result.seconds - static_cast<double>(shape_.microbatches) * most;
    return result;
  }

 private:
  double through(std::int32_t s, double work, Neighbour& below) const {
    const std::int64_t warmup = interleaved_warmup(shape_, s);
    const double down = forward_.until(s, warmup), rise = backward_.until(s, warmup);
    double fill = down, drain = rise;
    if (s + 1 < shape_.pp) {
      const std::int32_t turn = forward_.last_chunk(s + 1);
      fill = std::max(fill, below.fill + backward_.time(turn) + send_);
      drain = std::max(drain, below.drain + forward_.time(turn) + send_);
    }
    below = {fill, drain};
    if (warmup + 1 == shape_.microbatches * shape_.vpp) return std::max(down + drain, fill + rise);
    const double edges = forward_.work_until(s, warmup) + backward_.work_until(s, warmup);
    return fill + static_cast<double>(shape_.microbatches) * work - edges + drain;
  }

  PipeShape shape_;
  double send_;
  Flow forward_, backward_;
};

}  // namespace

Makespan interleaved_makespan(const PipeShape& shape, const PipeTimes& times) {
  return InterleavedPaths(shape, times).longest();
}

}  // namespace tw
