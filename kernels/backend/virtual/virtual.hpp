// An engine of the trainer's loop with byte counts and clocks instead of tensors. A step starts when its
// stream is free and what it waits for is done; a message carries the clock at which it arrives; a
// collective starts when its last member does. Gathers and reductions start when the compute stream
// reaches them; what needs them waits. The proof of order, balance and clocks without arithmetic.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "costmodel/program/footprint.hpp"
#include "costmodel/program/step_seconds.hpp"

namespace tw {

struct ClockMessage {
  double clock = 0;
  std::int64_t bytes = 0;
  std::int32_t microbatch = 0, boundary = 0;
};
// What ranks say to each other. Messages of a pair and a direction arrive in order; a send is buffered.
struct ClockTransport {
  std::function<void(Rank to, bool backward, const ClockMessage& message)> send;
  std::function<ClockMessage(Rank from, bool backward)> receive;
  std::function<double(const std::vector<Rank>& group, double clock)> maximum;  // over all members
};

class VirtualEngine {
 public:
  struct Count {
    double ready = 0;  // when it is there
    std::int64_t size = 0;
    std::int64_t bytes() const { return size; }
  };
  using Value = std::shared_ptr<const Count>;
  struct Call {
    const Operands& io;
    const LayerWork& work;
    std::int32_t unit = 0, microbatch = 0;
    std::vector<Value> reads, writes;
  };
  VirtualEngine(const Program& program, Rank rank, const StepSeconds& seconds, ClockTransport transport);

  void begin_step() {}
  void end_step() {}
  void op(const Step& step, Call& call);
  void act(const Step& step);
  void send(const Step& step, const Value& value, std::int32_t boundary);
  Value receive(const Step& step, std::int32_t boundary);
  void forget(std::int32_t, std::int32_t) {}
  std::int64_t state_bytes() const { return states_; }
  double clock() const { return clock_; }  // at the end of the last step
  double now() const;                      // when the last stream is done

 private:
  double& stream(Stream which) { return streams_[static_cast<std::size_t>(which)]; }
  double seconds_of(const Step& step) const;
  double meet(const Step& step, double start);
  void hold(std::vector<std::uint8_t>& held, std::int32_t unit, bool wanted, std::int64_t bytes);
  double start_of(const Step& step, const Call& call);
  std::size_t end_at(const Step& step, std::int32_t op) const;

  const Program& program_;
  std::int32_t stage_;
  std::span<const Unit> units_;
  std::span<const double> seconds_;
  ClockTransport transport_;
  Places places_;
  Groups groups_;
  RankView view_;
  std::array<double, kStreams> streams_{};
  std::vector<StateBytes> bytes_;
  std::vector<double> gathered_at_, ends_;  // of units, of the operations of each micro-batch
  std::vector<std::size_t> first_end_;
  std::vector<std::uint8_t> gathered_, partial_;
  std::int64_t states_ = 0;
  double clock_ = 0;
};

}  // namespace tw
