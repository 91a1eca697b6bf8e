#include "kernels/backend/virtual/virtual.hpp"

#include <algorithm>

#include "topology/check.hpp"

namespace tw {

VirtualEngine::VirtualEngine(const Program& program, Rank rank, const StepSeconds& seconds,
                             ClockTransport transport)
    : program_(program),
      stage_(program.stage_of(rank)),
      units_(program.units(stage_)),
      seconds_(seconds[static_cast<std::size_t>(stage_)]),
      transport_(std::move(transport)),
      places_(places_of(program, stage_)),
      view_(program, rank, places_, groups_),
      gathered_at_(units_.size()),
      gathered_(units_.size()),
      partial_(units_.size()) {
  TW_CHECK(seconds_.size() == program.steps(stage_).size());
  std::size_t ends = 0;
  for (std::size_t i = 0; i < units_.size(); ++i) {
    bytes_.push_back(tw::state_bytes(program, stage_, static_cast<std::int32_t>(i)));
    states_ += bytes_.back().parameters + bytes_.back().gradients + bytes_.back().moments;
    first_end_.push_back(ends);
    const LayerWork& work = *units_[i].work;
    ends += (work.forward.size() + work.backward.size()) * static_cast<std::size_t>(program.microbatches());
  }
  ends_.resize(ends);
}

double VirtualEngine::now() const {
  return *std::max_element(streams_.begin(), streams_.end());
}

double VirtualEngine::seconds_of(const Step& step) const {
  const auto index = static_cast<std::size_t>(&step - program_.steps(stage_).data());
  TW_CHECK(index < seconds_.size());
  return seconds_[index];
}

void VirtualEngine::hold(std::vector<std::uint8_t>& held, std::int32_t unit, bool wanted,
                         std::int64_t bytes) {
  std::uint8_t& has = held[static_cast<std::size_t>(unit)];
  if ((has != 0) == wanted) return;
  has = wanted ? 1 : 0;
  states_ += wanted ? bytes : -bytes;
}

double VirtualEngine::meet(const Step& step, double start) {
  for (const Exchange& exchange : view_.exchanges(step))
    start = transport_.maximum(groups_.at(exchange.group), start);
  return start;
}

VirtualEngine::Value VirtualEngine::receive(const Step& step, std::int32_t boundary) {
  const ClockMessage message = transport_.receive(view_.exchanges(step).front().peer, step.backward);
  TW_CHECK(message.microbatch == step.microbatch && message.boundary == boundary);
  TW_CHECK(message.bytes == places_.bytes(places_.boundary(step)));
  clock_ = std::max(clock_, message.clock);
  return std::make_shared<Count>(Count{message.clock, message.bytes});
}

void VirtualEngine::send(const Step& step, const Value& value, std::int32_t boundary) {
  const double arrives = value->ready + seconds_of(step);
  transport_.send(view_.exchanges(step).front().peer, step.backward,
                  {arrives, value->bytes(), step.microbatch, boundary});
}

std::size_t VirtualEngine::end_at(const Step& step, std::int32_t op) const {
  const LayerWork& work = *units_[static_cast<std::size_t>(step.unit)].work;
  const std::size_t each = work.forward.size() + work.backward.size();
  return first_end_[static_cast<std::size_t>(step.unit)] + each * static_cast<std::size_t>(step.microbatch) +
         (step.backward ? work.forward.size() : 0) + static_cast<std::size_t>(op);
}

double VirtualEngine::start_of(const Step& step, const Call& call) {
  const Op& op = op_of(step, units_);
  double start = stream(op.stream);
  for (const std::int16_t before : op.after) {
    if (before >= 0) start = std::max(start, ends_[end_at(step, before)]);
  }
  for (const Value& value : call.reads) start = std::max(start, value ? value->ready : 0);
  const bool tied = call.io.what == Operator::linear && call.io.weight < 0;
  const std::int32_t unit = tied ? program_.tied_unit(stage_) : step.unit;
  return std::max(start, gathered_at_[static_cast<std::size_t>(unit)]);
}

void VirtualEngine::op(const Step& step, Call& call) {
  const double end = meet(step, start_of(step, call)) + seconds_of(step);
  stream(op_of(step, units_).stream) = ends_[end_at(step, step.op)] = clock_ = end;
  if (writes_weight_gradient(call.io, units_[static_cast<std::size_t>(step.unit)].kind)) {
    const std::int32_t unit = call.io.weight < 0 ? program_.tied_unit(stage_) : step.unit;
    hold(partial_, unit, true, bytes_[static_cast<std::size_t>(unit)].whole_gradient);
  }
  for (std::size_t i = 0; i < call.writes.size(); ++i) {
    const auto value = static_cast<std::size_t>(call.io.writes[i]);
    call.writes[i] = std::make_shared<Count>(Count{end, call.work.operands.values[value].bytes()});
  }
}

void VirtualEngine::act(const Step& step) {
  const auto unit = static_cast<std::size_t>(std::max(step.unit, 0));
  if (step.action == Action::release) return hold(gathered_, step.unit, false, bytes_[unit].gathered);
  const bool last = step.action == Action::clip || step.action == Action::update;
  const double start = last ? now() : std::max(stream(Stream::compute), stream(Stream::state));
  const double end = meet(step, start) + seconds_of(step);
  stream(last ? Stream::compute : Stream::state) = clock_ = end;
  if (step.action == Action::gather) {
    gathered_at_[unit] = end;
    hold(gathered_, step.unit, true, bytes_[unit].gathered);
  }
  if (step.action == Action::reduce) hold(partial_, step.unit, false, bytes_[unit].whole_gradient);
}

}  // namespace tw
