// The one loop: a rank's steps in order, the values of each layer and micro-batch kept as long as the
// Program says, everything else done by an engine. An engine for real tensors is train/engine.hpp; one
// that only counts runs the same loop.
#pragma once

#include <concepts>
#include <map>
#include <utility>

#include "costmodel/program/view.hpp"
#include "topology/check.hpp"
#include "train/recorder.hpp"
#include "train/view.hpp"

namespace tw::train {

template <class E>
concept Engine = requires(E& engine, const Step& step, typename E::Call& call, typename E::Value value) {
  engine.op(step, call);                     // fills call.writes; may take from call.reads
  engine.act(step);                          // gather ... update
  engine.send(step, value, std::int32_t{});  // boundary between two chunks
  { engine.receive(step, std::int32_t{}) } -> std::same_as<typename E::Value>;
  engine.forget(std::int32_t{}, std::int32_t{});  // unit, micro-batch: nothing is read again
  { value->bytes() } -> std::same_as<std::int64_t>;
  { engine.state_bytes() } -> std::same_as<std::int64_t>;  // of all units now
};

template <Engine E>
class Trainer {
 public:
  using Value = typename E::Value;
  Trainer(const View& view, E& engine, Recorder& recorder)
      : view_(view), engine_(engine), recorder_(recorder) {}

  void step() {
    recorder_.begin();
    engine_.begin_step();
    recorder_.states(engine_.state_bytes());
    for (const Step& step : view_.steps()) {
      recorder_.start();
      play(step);
      recorder_.mark(step, clock());
    }
    engine_.end_step();
    TW_CHECK(frames_.empty() && !handed_);
  }

 private:
  struct Frame {
    std::vector<Value> values;
    std::size_t left = 0;  // operations
    bool backward = false;
  };

  // The engine's own, where it has one.
  double clock() const {
    if constexpr (requires { engine_.clock(); }) return engine_.clock();
    return recorder_.seconds();
  }

  void play(const Step& step) {
    switch (step.action) {
      case Action::receive:
        hand_on(engine_.receive(step, step.backward ? step.chunk : step.chunk - 1));
        return recorder_.live(handed_->bytes());
      case Action::send:
        engine_.send(step, handed_, step.backward ? step.chunk - 1 : step.chunk);
        return let_go(handed_);
      case Action::op:
        return operation(step);
      default:
        engine_.act(step);
        recorder_.states(engine_.state_bytes());
    }
  }

  void operation(const Step& step) {
    const LayerWork& work = *view_.units()[static_cast<std::size_t>(step.unit)].work;
    Frame& frame = frame_of(step, work);
    run(step, work, frame);
    if (--frame.left > 0) return;
    for (Value& value : frame.values) let_go(value);
    engine_.forget(step.unit, step.microbatch);
    frames_.erase({step.unit, step.microbatch});
  }

  void run(const Step& step, const LayerWork& work, Frame& frame) {
    const OperandList& list = step.backward ? work.operands.backward : work.operands.forward;
    const Operands& io = list[static_cast<std::size_t>(step.op)];
    typename E::Call call{io, work, step.unit, step.microbatch, {}, {}};
    for (const std::int16_t id : io.reads) call.reads.push_back(id < 0 ? Value{} : at(frame, id));
    call.writes.resize(io.writes.size());
    const auto free_all = [&] {
      for (const std::int16_t id : step.frees) let_go(at(frame, id));
    };
    if (writes_over(io)) free_all();
    engine_.op(step, call);
    recorder_.states(engine_.state_bytes());
    for (std::size_t i = 0; i < io.writes.size(); ++i) {
      Value& value = call.writes[i];
      if (!value) continue;
      recorder_.live(value->bytes());
      hands_on(step, work, io.writes[i]) ? hand_on(std::move(value))
                                         : void(at(frame, io.writes[i]) = std::move(value));
    }
    call.reads.clear();
    free_all();
  }

  // A layer's first operation takes what the one before it handed on; so does its backward.
  Frame& frame_of(const Step& step, const LayerWork& work) {
    const auto [found, made] = frames_.try_emplace({step.unit, step.microbatch});
    Frame& frame = found->second;
    if (made) {
      frame.values.resize(work.operands.values.size());
      frame.left = work.forward.size() + work.backward.size();
      take_over(frame, work.operands.input);
    }
    if (step.backward && !std::exchange(frame.backward, true))
      take_over(frame, work.operands.output_gradient);
    return frame;
  }

  Value& at(Frame& frame, std::int16_t id) { return frame.values[static_cast<std::size_t>(id)]; }
  void hand_on(Value value) {
    TW_CHECK(!handed_);
    handed_ = std::move(value);
  }
  void take_over(Frame& frame, std::int16_t id) {
    if (id >= 0) at(frame, id) = std::exchange(handed_, {});
  }
  void let_go(Value& value) {
    if (!value) return;
    recorder_.live(-value->bytes());
    value = {};
  }
  // The loss stays: the backward of the head reads it.
  static bool hands_on(const Step& step, const LayerWork& work, std::int16_t id) {
    if (step.backward) return id == work.operands.input_gradient;
    if (id != work.operands.output) return false;
    for (const Operands& op : work.operands.backward) {
      for (const std::int16_t read : op.reads) {
        if (read == id) return false;
      }
    }
    return true;
  }

  const View& view_;
  E& engine_;
  Recorder& recorder_;
  std::map<std::pair<std::int32_t, std::int32_t>, Frame> frames_;  // by unit and micro-batch
  Value handed_{};                                                 // from a layer, or a stage, to the next
};

}  // namespace tw::train
