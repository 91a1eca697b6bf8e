// The engine of real tensors on one GPU per rank: the same Program as train/engine.hpp, in bf16 with fp32
// master weights. A step is put on streams without waiting for them; its end waits once, for the loss.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "train/device/operations.hpp"
#include "train/operations.hpp"
#include "train/trainer.hpp"

namespace tw::train {

// InputError where a Program has operations that the GPU has no kernel for.
void refuse_on_device(const Program& program);

struct DeviceMemory {
  std::int64_t blocks = 0;  // most bytes of blocks in use at once, each rounded up
  std::int64_t extent = 0;  // of the memory that these lay in
  std::int64_t in_use = 0;  // on the GPU now, by all: context, libraries and communicators too
};

class DeviceEngine {
 public:
  using Value = DeviceHandle;
  using Call = DeviceCall;
  using Kept = float;  // master weights and moments
  // poisoned: what is read before it is written is no number.
  DeviceEngine(const View& view, Messages& messages, const Settings& settings, const Data& data,
               bool poisoned = false);

  void begin_step();
  void end_step();
  void op(const Step& step, Call& call);
  void act(const Step& step);
  void send(const Step& step, const Value& value, std::int32_t boundary);
  Value receive(const Step& step, std::int32_t boundary);
  void forget(std::int32_t unit, std::int32_t microbatch);
  std::int64_t state_bytes() const { return operations_.state_bytes(); }

  const View& view() const { return view_; }
  Messages& messages() { return gpu_.messages(); }
  const Settings& settings() const { return operations_.settings(); }
  const Data& data() const { return operations_.data(); }
  const Losses& losses() const { return total_; }
  double gradient_norm() const { return norm_; }
  DeviceMemory memory() const;
  // While on, steps say where their time goes, and take a little longer.
  void trace(bool on);
  std::vector<Recorder::Mark> marks() const { return trace_.marks(); }  // of the step that ended
  Timeline timeline() const { return trace_.timeline(); }
  // Host time to put the step that ended on its streams, waits for the GPU inside it included.
  double issue_seconds() const { return issue_seconds_; }

  // As TensorEngine has them.
  std::vector<double> collect(Field field, const NamedWeight& weight);
  void restore(Field field, const NamedWeight& weight, std::span<const double> whole);
  void refresh();
  std::int64_t steps_done() const { return operations_.step; }
  void set_steps_done(std::int64_t steps);

 private:
  // A value that crosses a boundary between two chunks, one way.
  struct Channel {
    Rank from, to;
    bool backward = false;
    std::int32_t boundary = 0;
    auto key() const { return std::tuple(from.value(), to.value(), backward, boundary); }
  };
  Channel channel(const Step& step, std::int32_t boundary, Rank own) const;
  void open_channels();
  void meet_groups();
  std::int32_t lane_of(const Channel& channel) const { return channels_.at(channel.key()); }
  std::vector<Rank> holders(std::int32_t unit) const;
  bool waits_for_network(const Step& step, const Call& call) const;
  const Operands* after(const Step& step, const Call& call) const;
  bool idle(const Step& step) const { return idle_[static_cast<std::size_t>(&step - view_.steps().data())]; }
  void update(std::int32_t unit);
  void flush();
  void done(const Step& step);
  void play(const Step& step);
  void sum_copies(std::int32_t unit);
  void clip();

  const View& view_;
  Context gpu_;
  DeviceOperations operations_;
  std::map<std::tuple<std::int32_t, std::int32_t, bool, std::int32_t>, std::int32_t> channels_;  // lanes
  std::map<std::tuple<std::int32_t, bool, std::int32_t>, Value> kept_;  // sent to this rank itself
  std::vector<bool> idle_;                                              // by step: traffic that is left out
  std::int32_t first_gathered_;                                         // unit; -1: parameters are not cut
  std::optional<Call> held_;  // a weight half, until the exchange after it is under way
  const Step* held_step_ = nullptr;
  StreamTimes trace_;
  bool traces_ = false;
  std::chrono::steady_clock::time_point began_;
  double issue_seconds_ = 0;
  Block factor_;
  gpu::HostBuffer host_sums_{3 * sizeof(double)};
  Losses total_;
  double norm_ = 0;
};

}  // namespace tw::train
