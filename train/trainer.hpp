// The one loop: a rank's steps in order, the values of each layer and micro-batch kept as long as the
// Program says, everything else done by an engine. An engine for real tensors is train/engine.hpp; one
// that only counts runs the same loop.
#pragma once

#include <concepts>
#include <map>
#include <utility>

#include "topology/check.hpp"
#include "train/operations.hpp"
#include "train/recorder.hpp"

namespace tw::train {

template <class E>
concept Engine = requires(E& engine, const Step& step, typename E::Call& call, typename E::Value value) {
  engine.op(step, call);                     // fills call.writes
  engine.act(step);                          // gather ... update
  engine.send(step, value, std::int32_t{});  // boundary between two chunks
  { engine.receive(step, std::int32_t{}) } -> std::same_as<typename E::Value>;
  engine.forget(std::int32_t{}, std::int32_t{});  // unit, micro-batch: nothing is read again
};

template <Engine E>
class Trainer {
 public:
  using Value = typename E::Value;
  Trainer(const View& view, E& engine, Recorder& recorder)
      : view_(view), engine_(engine), recorder_(recorder) {}

  void step() {
    engine_.begin_step();
    recorder_.begin();
    for (const Step& step : view_.steps()) {
      play(step);
      recorder_.mark(step);
    }
    engine_.end_step();
    TW_CHECK(frames_.empty());
  }

 private:
  struct Frame {
    std::vector<Value> values;
    std::size_t left = 0;  // operations
    bool backward = false;
  };

  void play(const Step& step) {
    switch (step.action) {
      case Action::receive:
        handed_ = engine_.receive(step, step.backward ? step.chunk : step.chunk - 1);
        return;
      case Action::send:
        engine_.send(step, handed_, step.backward ? step.chunk - 1 : step.chunk);
        handed_ = {};
        return;
      case Action::op:
        return operation(step);
      default:
        return engine_.act(step);
    }
  }

  void operation(const Step& step) {
    const LayerWork& work = *view_.units()[static_cast<std::size_t>(step.unit)].work;
    Frame& frame = frame_of(step, work);
    const OperandList& list = step.backward ? work.operands.backward : work.operands.forward;
    typename E::Call call{list[static_cast<std::size_t>(step.op)], work, step.unit, step.microbatch, {}, {}};
    for (const std::int16_t id : call.io.reads) call.reads.push_back(id < 0 ? Value{} : at(frame, id));
    call.writes.resize(call.io.writes.size());
    engine_.op(step, call);
    for (std::size_t i = 0; i < call.io.writes.size(); ++i)
      put(frame, work, call.io.writes[i], std::move(call.writes[i]));
    const std::int16_t handed = step.backward ? work.operands.input_gradient : work.operands.output;
    for (const std::int16_t id : call.io.writes) {
      if (id == handed) hand_on(frame, work, id);
    }
    for (const std::int16_t id : step.frees) drop(frame, work, id);
    if (--frame.left > 0) return;
    for (std::size_t id = 0; id < frame.values.size(); ++id) drop(frame, work, static_cast<std::int16_t>(id));
    engine_.forget(step.unit, step.microbatch);
    frames_.erase({step.unit, step.microbatch});
  }

  // A layer's first operation takes what the one before it handed on; so does its backward.
  Frame& frame_of(const Step& step, const LayerWork& work) {
    const auto [found, made] = frames_.try_emplace({step.unit, step.microbatch});
    Frame& frame = found->second;
    if (made) {
      frame.values.resize(work.operands.values.size());
      frame.left = work.forward.size() + work.backward.size();
      if (work.operands.input >= 0) put(frame, work, work.operands.input, std::exchange(handed_, {}));
    }
    if (step.backward && !std::exchange(frame.backward, frame.backward || step.backward) &&
        work.operands.output_gradient >= 0)
      put(frame, work, work.operands.output_gradient, std::exchange(handed_, {}));
    return frame;
  }

  Value& at(Frame& frame, std::int16_t id) { return frame.values[static_cast<std::size_t>(id)]; }
  void put(Frame& frame, const LayerWork& work, std::int16_t id, Value value) {
    if (!value) return;
    at(frame, id) = std::move(value);
    recorder_.live(work.operands.values[static_cast<std::size_t>(id)].bytes());
  }
  void drop(Frame& frame, const LayerWork& work, std::int16_t id) {
    if (!at(frame, id)) return;
    at(frame, id) = {};
    recorder_.live(-work.operands.values[static_cast<std::size_t>(id)].bytes());
  }
  // The loss stays: the backward of the head reads it.
  void hand_on(Frame& frame, const LayerWork& work, std::int16_t id) {
    handed_ = at(frame, id);
    const bool loss = id == work.operands.output && work.operands.input >= 0 && reads_again(work, id);
    if (!loss) drop(frame, work, id);
  }
  static bool reads_again(const LayerWork& work, std::int16_t id) {
    for (const Operands& op : work.operands.backward) {
      for (const std::int16_t read : op.reads) {
        if (read == id) return true;
      }
    }
    return false;
  }

  const View& view_;
  E& engine_;
  Recorder& recorder_;
  std::map<std::pair<std::int32_t, std::int32_t>, Frame> frames_;  // by unit and micro-batch
  Value handed_{};                                                 // from a layer, or a stage, to the next
};

}  // namespace tw::train
