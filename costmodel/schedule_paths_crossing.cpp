// DualPipe and its V form: the longest path through the slots. Both halves of DualPipe hold the same
// chunks, so it plays as a V of pp/2 devices whose turn costs a send. A path fills to the first far
// backward of a device, stays there for its pairs, and drains: down with the last far forward to
// some device, up with the last far backward, down again with the last near one (derived). For even
// chunks this gives the bubble of DeepSeek-V3 (arXiv 2412.19437), table 2, where B >= W.
#include <algorithm>
#include <array>

#include "costmodel/schedules/paths.hpp"
#include "costmodel/schedules/slots.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

std::size_t at(std::int32_t i) {
  return static_cast<std::size_t>(i);
}

struct Vee {
  std::int32_t devices = 0;
  std::int64_t microbatches = 0;
  double send = 0, turn = 0;
  std::span<const ChunkTime> chunks;
};

class CrossingPaths {
 public:
  explicit CrossingPaths(const Vee& vee) : vee_(vee) {
    TW_CHECK(vee.devices <= kMaxStages);
    rise_all();
    double forwards = 0;
    for (const ChunkTime& chunk : vee_.chunks) forwards += chunk.forward;
    all_forwards_ = forwards + 2 * (vee_.devices - 1) * vee_.send + vee_.turn;
  }

  double longest() const {
    double seconds = 0, start = 0, last = 0, near_forwards = 0, far_forwards = 0;
    for (std::int32_t r = 0; r < vee_.devices; ++r) {
      const ChunkTime &n = near(r), &f = far(r);
      far_forwards += f.forward + (r > 0 ? vee_.send : 0);
      const double chain = all_forwards_ - far_forwards + (r + 1) * f.forward + r * n.forward;
      const double own = near_forwards + (2 * inner(r) + r + 1) * n.forward + (r + 1) * f.forward;
      start = std::max({r == 0 ? all_forwards_ : start + far(r - 1).backward + vee_.send, own, chain});
      last = std::max(until_last_far(r) + rise_[at(r)], r == 0 ? 0 : vee_.send + second_pair(r - 1) + last);
      seconds = std::max(seconds, start + pairs(r) + last);
      near_forwards += n.forward + vee_.send;
    }
    return seconds;
  }

  double most_work() const {
    double most = 0;
    for (std::int32_t r = 0; r < vee_.devices; ++r) {
      const double alone = near(r).forward + far(r).forward + whole(near(r)) + whole(far(r));
      const double saved = static_cast<double>(rounds(r)) * near(r).hidden +
                           static_cast<double>(rounds(r) + inner(r)) * far(r).hidden;
      most = std::max(most, static_cast<double>(vee_.microbatches) * alone - saved);
    }
    return most;
  }

 private:
  const ChunkTime& near(std::int32_t r) const { return vee_.chunks[at(r)]; }
  const ChunkTime& far(std::int32_t r) const { return vee_.chunks[at(2 * vee_.devices - 1 - r)]; }
  std::int32_t inner(std::int32_t r) const { return vee_.devices - r - 1; }
  std::int64_t rounds(std::int32_t r) const { return vee_.microbatches - 2 * vee_.devices + r + 1; }
  static double whole(const ChunkTime& chunk) { return chunk.backward + chunk.weight; }
  static double together(const ChunkTime& forward, const ChunkTime& backward) {
    return forward.forward - forward.hidden + whole(backward);
  }
  double second_pair(std::int32_t r) const { return together(far(r), near(r)); }

  // From the first far backward to the end of the last pair.
  double pairs(std::int32_t r) const {
    const double round = together(near(r), far(r)) + second_pair(r);
    const double filling = whole(far(r)) + far(r).forward, closing = whole(far(r)) + second_pair(r);
    return static_cast<double>(rounds(r)) * round + inner(r) * (filling + closing);
  }
  // From the end of the last pair to the end of the last far backward; the first r+1 of the 2r+1
  // backwards are whole.
  double until_last_far(std::int32_t r) const {
    const std::int32_t near_weights = (r + 1) / 2, far_weights = r + 1 - near_weights;
    return (r + 1) * far(r).backward + r * near(r).backward + near_weights * near(r).weight +
           far_weights * far(r).weight;
  }
  // The r+1 last postponed W of a device: near ones first, as far as there are.
  double last_weights(std::int32_t r) const {
    const std::int32_t mixed = std::max(0, r + 1 - inner(r)), far_weights = mixed / 2;
    return (r + 1 - far_weights) * near(r).weight + far_weights * far(r).weight;
  }
  double postponed_weights(std::int32_t r) const {
    const std::int32_t far_weights = (r + 1) / 2;
    return (vee_.devices - far_weights) * near(r).weight + far_weights * far(r).weight;
  }

  // rise: from the end of the last far backward of a device. Its near backwards and W follow, whose
  // last one falls to the devices nearer the end.
  void rise_all() {
    double fall = 0;
    for (std::int32_t v = 0; v < vee_.devices; ++v) {
      fall = std::max(last_weights(v), v == 0 ? 0 : near(v - 1).backward + vee_.send + fall);
      const double paid = postponed_weights(v) - last_weights(v);
      rise_[at(v)] = (1 + inner(v)) * near(v).backward + paid + fall + (inner(v) == 0 ? vee_.turn : 0);
    }
    for (std::int32_t v = vee_.devices - 2; v >= 0; --v) {
      rise_[at(v)] = std::max(rise_[at(v)], far(v + 1).backward + vee_.send + rise_[at(v + 1)]);
    }
  }

  Vee vee_;
  double all_forwards_ = 0;
  std::array<double, kMaxStages> rise_;
};

Makespan crossing_makespan(const Vee& vee) {
  const CrossingPaths paths(vee);
  const double seconds = paths.longest();
  return {seconds, seconds - paths.most_work()};
}

}  // namespace

Makespan dualpipe_makespan(const PipeShape& shape, const PipeTimes& times) {
  return crossing_makespan({shape.pp / 2, shape.microbatches / 2, times.send, times.send, times.chunks});
}

Makespan dualpipe_v_makespan(const PipeShape& shape, const PipeTimes& times) {
  return crossing_makespan({shape.pp, shape.microbatches, times.send, 0, times.chunks});
}

}  // namespace tw
