// 1F1B and ZB-H1: the longest path through the slots. A path that goes one stage down gains one
// forward and one micro-batch, one that goes up gains one backward. Without sends the mean of any
// loop is at most the work of its slowest stage, so the path fills down to a stage, stays there and
// drains from it; with sends it may also run round a loop of stages (derived).
#include <algorithm>
#include <array>

#include "costmodel/schedules/paths.hpp"
#include "costmodel/schedules/slots.hpp"

namespace tw {
namespace {

class OneChunkPaths {
 public:
  // A whole backward is one pass of backward + weight and leaves no weight to postpone.
  OneChunkPaths(const PipeShape& shape, const PipeTimes& times, bool splits)
      : pp_(shape.pp), microbatches_(shape.microbatches), send_(times.send) {
    sums_[0] = 0;
    for (std::int32_t s = 0; s < pp_; ++s) {
      const ChunkTime& chunk = times.chunks[at(s)];
      stages_[at(s)] = {chunk.forward, chunk.backward + (splits ? 0 : chunk.weight),
                        splits ? chunk.weight : 0, one_f_one_b_warmup(shape, s)};
      sums_[at(s + 1)] = sums_[at(s)] + chunk.forward + chunk.backward + chunk.weight;
    }
  }

  Makespan longest() {
    fill_all();
    drain_all();
    Makespan result;
    double most = 0;
    for (std::int32_t s = 0; s < pp_; ++s) {
      result.seconds = std::max(result.seconds, through(s));
      most = std::max(most, sums_[at(s + 1)] - sums_[at(s)]);
    }
    result.bubble = result.seconds - static_cast<double>(microbatches_) * most;
    return result;
  }

 private:
  struct Stage {
    double forward, backward, weight;
    std::int32_t warmup;
  };
  static std::size_t at(std::int32_t s) { return static_cast<std::size_t>(s); }

  // fill: up to the start of the first backward. Down to a stage u, waiting on the way at the
  // slowest forward for the warm-up of u, then up again.
  void fill_all() {
    double forwards = 0, slowest = 0;
    for (std::int32_t u = 0; u < pp_; ++u) {
      const Stage& stage = stages_[at(u)];
      forwards += stage.forward;
      slowest = std::max(slowest, stage.forward);
      down_[at(u)] = fill_[at(u)] = forwards + u * send_ + stage.warmup * slowest;
    }
    for (std::int32_t s = pp_ - 2; s >= 0; --s) {
      fill_[at(s)] = std::max(fill_[at(s)], fill_[at(s + 1)] + stages_[at(s + 1)].backward + send_);
    }
  }

  // drain: from the end of the last forward; down to a stage u, whose last backwards then go up.
  void drain_all() {
    for (std::int32_t s = pp_ - 1; s >= 0; --s) {
      drain_[at(s)] = rise_[at(s)] = rise(s);
      if (s + 1 == pp_) continue;
      drain_[at(s)] = std::max(drain_[at(s)], stages_[at(s + 1)].forward + send_ + drain_[at(s + 1)]);
    }
  }

  // From the last forward of stage u up to a stage e and its postponed W, waiting at the slowest
  // backward on the way. Stage s postpones W by s micro-batches.
  double rise(std::int32_t u) const {
    const std::int32_t waits = stages_[at(u)].warmup;
    double backwards = 0, slowest = 0, longest = 0;
    for (std::int32_t e = u; e >= 0; --e) {
      const Stage& stage = stages_[at(e)];
      const auto weights = std::clamp<std::int64_t>(microbatches_ - 1 - e, 0, waits);
      const auto left = std::min<std::int64_t>(microbatches_, e + 1);
      backwards += stage.backward;
      slowest = std::max(slowest, waits * stage.backward + static_cast<double>(weights) * stage.weight);
      const double sends = (u - e) * send_;
      longest = std::max(longest, backwards + slowest + sends + static_cast<double>(left) * stage.weight);
    }
    return longest;
  }

  // The longest path that stays at s. A stage that has no forward after its first backward cannot be
  // left downwards by a path that came up to it.
  double through(std::int32_t s) const {
    if (microbatches_ - 1 > stages_[at(s)].warmup) {
      return std::max(fill_[at(s)] + steady(s), late_arrival(s)) + drain_[at(s)];
    }
    return std::max(down_[at(s)] + drain_[at(s)], fill_[at(s)] + rise_[at(s)]);
  }

  // Pairs of backward and forward of a stage, from pair `from` on; W runs from pair s on.
  double pairs_time(std::int32_t s, std::int64_t from, std::int64_t until) const {
    const Stage& stage = stages_[at(s)];
    const auto weights =
        static_cast<double>(std::max<std::int64_t>(0, until - std::max<std::int64_t>(from, s)));
    return static_cast<double>(until - from) * (stage.forward + stage.backward) + weights * stage.weight;
  }

  // As fill and steady, but by way of a stage above: the first pairs of s run without W, those of a
  // stage nearer the front with it. Costs one forward per stage on the way down.
  double late_arrival(std::int32_t s) const {
    double longest = 0, down = 0;
    const std::int64_t pairs = microbatches_ - 1 - stages_[at(s)].warmup;
    for (std::int32_t from = s - 1; from >= 0 && stages_[at(s)].weight > 0; --from) {
      down += stages_[at(from + 1)].forward + send_;
      for (const std::int64_t stay : {std::int64_t{1}, std::int64_t{from}}) {
        const std::int64_t arrival = stay + s - from;
        if (stay < 1 || arrival > pairs) continue;
        longest = std::max(
            longest, fill_[at(from)] + pairs_time(from, 0, stay) + down + pairs_time(s, arrival, pairs));
      }
    }
    return longest;
  }

  // From the first backward of a stage to the end of its last forward.
  double steady(std::int32_t s) const {
    const Stage& stage = stages_[at(s)];
    const std::int64_t pairs = microbatches_ - 1 - stage.warmup;
    const double alone = pairs_time(s, 0, pairs);
    return send_ > 0 && stage.weight == 0 ? std::max(alone, loops(s, pairs)) : alone;
  }

  // The path may run round stages top .. s instead: a loop of n stages takes n pairs, all work of
  // these stages and 2(n-1) sends. The remainder runs a shorter loop at the bottom.
  double loops(std::int32_t s, std::int64_t pairs) const {
    double longest = 0;
    for (std::int32_t top = s - 1; top >= 0; --top) {
      const std::int64_t size = s - top + 1, rounds = pairs / size;
      const auto rest = static_cast<std::int32_t>(pairs % size);
      longest = std::max(longest,
                         static_cast<double>(rounds) * loop(top, s) + (rest > 0 ? loop(s - rest + 1, s) : 0));
    }
    return longest;
  }
  double loop(std::int32_t top, std::int32_t bottom) const {
    return sums_[at(bottom + 1)] - sums_[at(top)] + 2 * (bottom - top) * send_;
  }

  std::int32_t pp_;
  std::int64_t microbatches_;
  double send_;
  std::array<Stage, kMaxStages> stages_;
  std::array<double, kMaxStages + 1> sums_;
  std::array<double, kMaxStages> down_, fill_, rise_, drain_;
};

}  // namespace

Makespan one_f_one_b_makespan(const PipeShape& shape, const PipeTimes& times) {
  return OneChunkPaths(shape, times, false).longest();
}

Makespan zb_h1_makespan(const PipeShape& shape, const PipeTimes& times) {
  return OneChunkPaths(shape, times, true).longest();
}

}  // namespace tw
