// Runs a rank's view of a Program with byte counts and clocks instead of tensors. A step starts when its
// stream is free and what it waits for is done; a message carries the clock at which it arrives; a
// collective starts when its last member does. Gathers and reductions start when the compute stream
// reaches them; what needs them waits. The proof of order, balance and clocks without arithmetic.
#pragma once

#include <array>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "costmodel/program/footprint.hpp"

namespace tw {

struct ClockMessage {
  double clock = 0;
  std::int64_t bytes = 0;
  std::int32_t microbatch = 0, chunk = 0;  // of the receiver
};
// What ranks say to each other. Messages of a pair and a direction arrive in order; a send is buffered.
struct ClockTransport {
  std::function<void(Rank to, bool backward, const ClockMessage& message)> send;
  std::function<ClockMessage(Rank from, bool backward)> receive;
  std::function<double(const std::vector<Rank>& group, double clock)> maximum;  // over all members
};
// Of each step of each stage, parallel to Program::steps.
using StepSeconds = std::vector<std::vector<double>>;

class VirtualBackend {
 public:
  VirtualBackend(const Program& program, Rank rank, const StepSeconds& seconds, ClockTransport transport);

  void run(std::size_t step);
  void run_all();
  double now() const;  // when the last stream is done
  std::int64_t peak() const { return peak_; }
  std::int64_t left() const { return now_ - states_; }  // bytes beyond the states
  std::span<const std::size_t> executed() const { return executed_; }

 private:
  using Streams = std::array<double, kStreams>;
  double& stream(Stream which) { return streams_[static_cast<std::size_t>(which)]; }
  double meet(const Step& step, double start);
  void allocate(std::int64_t bytes);
  void release(std::int64_t bytes) { now_ -= bytes; }
  void hold(std::vector<std::uint8_t>& held, std::int32_t unit, bool wanted, std::int64_t bytes);
  void receive(const Step& step);
  void send(const Step& step, double seconds);
  void op(const Step& step, double seconds);
  void state(const Step& step, double seconds);
  double start_of(const Step& step, const Operands& operands);
  std::size_t end_at(const Step& step, std::int32_t op) const;

  const Program& program_;
  std::int32_t stage_;
  std::span<const Unit> units_;
  std::span<const double> seconds_;
  ClockTransport transport_;
  Places places_;
  Groups groups_;
  RankView view_;
  Streams streams_{};
  std::vector<StateBytes> bytes_;
  std::vector<double> ready_, gathered_at_, ends_;  // of values, units, operations of each micro-batch
  std::vector<std::size_t> first_end_;
  std::vector<std::uint8_t> gathered_, partial_;
  std::vector<std::size_t> executed_;
  std::int64_t states_ = 0, now_ = 0, peak_ = 0;
};

}  // namespace tw
