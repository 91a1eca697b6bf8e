// The streams of one GPU as a step uses them: compute, and side lanes that run beside it. What is put on a
// side lane begins behind everything that compute was given before, and compute goes on behind it only
// where it awaits its ticket. So a block of memory that compute has let go may be used again by any lane,
// and one that a side lane used as soon as compute has awaited that use.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <vector>

#include "kernels/backend/gpu/device.hpp"
#include "train/device/stream_times.hpp"

namespace tw::train {

// The end of a piece of work on a side lane; none: work of compute, which needs no ticket.
struct Ticket {
  std::int32_t lane = -1;
  std::int64_t number = 0;
};

class Lanes {
 public:
  static constexpr std::int32_t kNetwork = 0, kState = 1;
  Lanes();

  gpu::Stream compute() const {
    touch();
    return compute_;
  }
  std::int32_t add();  // one more lane
  gpu::Stream begin(std::int32_t lane);
  // Compute goes on where the work that was begun last on the lane may start: that takes its multiprocessors
  // first. A product that fills the GPU would keep it waiting to its end.
  void follow(std::int32_t lane);
  Ticket end(std::int32_t lane);
  void await(Ticket ticket);         // compute goes on behind it
  bool passed(Ticket ticket) const;  // compute has awaited it, or a later one of its lane
  bool over(Ticket ticket) const;    // the GPU has done it
  void join();                       // awaits all lanes
  void finish();                     // joins, and the host waits for compute

  // For a trace: whose work tickets are from now on, and who hears of waits for them.
  void work_of(const Step* step) { step_ = step; }
  void touch() const {  // compute is given work
    if (trace_ != nullptr) trace_->touch();
  }
  void trace(StreamTimes* trace) { trace_ = trace; }

 private:
  struct Open {
    std::int64_t number;
    gpu::Event event;
    const Step* step;
  };
  struct Lane {
    gpu::OwnedStream stream{true};
    gpu::Event begun{false};
    std::int64_t issued = 0, awaited = 0;
    std::size_t opened = 0;  // by the trace
    std::deque<Open> open;   // not yet awaited
  };
  Lane& at(std::int32_t lane) { return *places_[static_cast<std::size_t>(lane)]; }
  const Lane& at(std::int32_t lane) const { return *places_[static_cast<std::size_t>(lane)]; }

  gpu::OwnedStream compute_;
  gpu::Event behind_{false};
  std::list<Lane> lanes_;
  std::vector<Lane*> places_;
  std::vector<gpu::Event> spare_;
  const Step* step_ = nullptr;
  StreamTimes* trace_ = nullptr;
};

}  // namespace tw::train
