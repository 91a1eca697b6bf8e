// All ranks of a Program in one process, a thread each: the transport of the virtual backend for tests.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <tuple>
#include <vector>

#include "kernels/backend/virtual/virtual.hpp"
#include "train/trainer.hpp"

namespace tw {

class ThreadWorld {
 public:
  ClockTransport of(Rank self) {
    return {[this, self](Rank to, bool backward, const ClockMessage& m) {
              send({self, to, backward}, m);
            },
            [this, self](Rank from, bool backward) {
              return receive({from, self, backward});
            },
            [this](const std::vector<Rank>& group, double clock) { return maximum(group, clock); }};
  }

 private:
  using Channel = std::tuple<Rank, Rank, bool>;
  struct Meeting {
    std::size_t arrived = 0, number = 0;
    double most = 0, result = 0;
  };
  void send(const Channel& channel, const ClockMessage& message) {
    const std::lock_guard lock(mutex_);
    channels_[channel].push_back(message);
    changed_.notify_all();
  }
  ClockMessage receive(const Channel& channel) {
    std::unique_lock lock(mutex_);
    std::deque<ClockMessage>& queue = channels_[channel];
    wait(lock, [&] { return !queue.empty(); });
    const ClockMessage message = queue.front();
    queue.pop_front();
    return message;
  }
  double maximum(const std::vector<Rank>& group, double clock) {
    std::unique_lock lock(mutex_);
    Meeting& meeting = meetings_[group];
    meeting.most = std::max(meeting.most, clock);
    if (++meeting.arrived == group.size()) {
      meeting.result = meeting.most, meeting.arrived = 0, meeting.most = 0;
      ++meeting.number;
      changed_.notify_all();
      return meeting.result;
    }
    wait(lock, [&, number = meeting.number] { return meeting.number != number; });
    return meeting.result;
  }
  template <class Done>
  void wait(std::unique_lock<std::mutex>& lock, Done done) {
    if (!changed_.wait_for(lock, std::chrono::seconds(60), done)) throw std::runtime_error("deadlock");
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Channel, std::deque<ClockMessage>> channels_;
  std::map<std::vector<Rank>, Meeting> meetings_;
};

// A rank that has run a step through the trainer's loop.
struct VirtualRank {
  VirtualRank(const Program& program, Rank rank, const StepSeconds& seconds, ClockTransport transport)
      : view(program, rank), engine(program, rank, seconds, std::move(transport)) {}
  void run() { train::Trainer<VirtualEngine>(view, engine, recorder).step(); }
  // All steps of the Program in its order, none twice.
  bool in_order() const {
    const std::span<const Step> steps = view.steps();
    const auto same = [](const Step& step, const train::Recorder::Mark& mark) { return mark.step == &step; };
    return std::equal(steps.begin(), steps.end(), recorder.marks().begin(), recorder.marks().end(), same);
  }

  train::View view;
  VirtualEngine engine;
  train::Recorder recorder{true};
};

inline std::vector<std::unique_ptr<VirtualRank>> run_all_ranks(const Program& program,
                                                               const StepSeconds& seconds) {
  ThreadWorld world;
  std::vector<std::unique_ptr<VirtualRank>> ranks;
  for (std::int32_t rank = 0; rank < program.grid().ranks(); ++rank)
    ranks.push_back(std::make_unique<VirtualRank>(program, Rank(rank), seconds, world.of(Rank(rank))));
  std::vector<std::thread> threads;
  for (const auto& rank : ranks) threads.emplace_back([&rank] { rank->run(); });
  for (std::thread& thread : threads) thread.join();
  return ranks;
}

// A table from a function of the step and what it is about.
template <class F>
StepSeconds table_of(const Program& program, F&& seconds) {
  StepSeconds out;
  for (std::int32_t stage = 0; stage < program.stages(); ++stage) {
    std::vector<double>& list = out.emplace_back();
    for (const Step& step : program.steps(stage)) list.push_back(seconds(step, program.units(stage)));
  }
  return out;
}

}  // namespace tw
