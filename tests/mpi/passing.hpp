// Engines put between the trainer and another engine.
#pragma once

#include <set>
#include <utility>

#include "train/engine.hpp"

namespace tw::train {

// An engine that does all as another one does, for a test that changes or watches some of it.
template <class E>
class Passing {
 public:
  using Value = typename E::Value;
  using Call = typename E::Call;
  explicit Passing(E& inner) : inner_(inner) {}

  void begin_step() { inner_.begin_step(); }
  void end_step() { inner_.end_step(); }
  void op(const Step& step, Call& call) { inner_.op(step, call); }
  void act(const Step& step) { inner_.act(step); }
  void send(const Step& step, const Value& value, std::int32_t boundary) {
    inner_.send(step, value, boundary);
  }
  Value receive(const Step& step, std::int32_t boundary) { return inner_.receive(step, boundary); }
  void forget(std::int32_t unit, std::int32_t microbatch) { inner_.forget(unit, microbatch); }
  std::int64_t state_bytes() const { return inner_.state_bytes(); }
  const Losses& losses() const { return inner_.losses(); }
  double gradient_norm() const { return inner_.gradient_norm(); }
  std::vector<double> collect(Field field, const NamedWeight& weight) {
    return inner_.collect(field, weight);
  }

 protected:
  E& inner_;
};

// Whether each step of the Program was done once, in its order.
template <class E>
class Watched : public Passing<E> {
 public:
  using typename Passing<E>::Value;
  using typename Passing<E>::Call;
  Watched(E& inner, const View& view) : Passing<E>(inner), steps_(view.steps()) {}

  void begin_step() { this->inner_.begin_step(), next_ = 0; }
  void end_step() {
    this->inner_.end_step();
    in_order_ = in_order_ && next_ == steps_.size();
  }
  void op(const Step& step, Call& call) {
    see(step), done_.emplace(call.io.what, call.backward());
    this->inner_.op(step, call);
  }
  void act(const Step& step) { see(step), this->inner_.act(step); }
  void send(const Step& step, const Value& value, std::int32_t boundary) {
    see(step), this->inner_.send(step, value, boundary);
  }
  Value receive(const Step& step, std::int32_t boundary) {
    return see(step), this->inner_.receive(step, boundary);
  }
  bool in_order() const { return in_order_; }
  const std::set<std::pair<Operator, bool>>& done() const { return done_; }  // backward: true

 private:
  void see(const Step& step) {
    in_order_ = in_order_ && next_ < steps_.size() && &steps_[next_] == &step;
    ++next_;
  }
  std::span<const Step> steps_;
  std::size_t next_ = 0;
  bool in_order_ = true;
  std::set<std::pair<Operator, bool>> done_;
};

}  // namespace tw::train
