#include "kernels/backend/virtual/virtual.hpp"

#include <algorithm>

#include "topology/check.hpp"

namespace tw {

VirtualBackend::VirtualBackend(const Program& program, Rank rank, const StepSeconds& seconds,
                               ClockTransport transport)
    : program_(program),
      stage_(program.stage_of(rank)),
      units_(program.units(stage_)),
      seconds_(seconds[static_cast<std::size_t>(stage_)]),
      transport_(std::move(transport)),
      places_(places_of(program, stage_)),
      view_(program, rank, places_, groups_),
      ready_(places_.size()),
      gathered_at_(units_.size()),
      gathered_(units_.size()),
      partial_(units_.size()) {
  TW_CHECK(seconds_.size() == program.steps(stage_).size());
  std::size_t ends = 0;
  for (std::size_t i = 0; i < units_.size(); ++i) {
    bytes_.push_back(state_bytes(program, stage_, static_cast<std::int32_t>(i)));
    states_ += bytes_.back().parameters + bytes_.back().gradients + bytes_.back().moments;
    first_end_.push_back(ends);
    const LayerWork& work = *units_[i].work;
    ends += (work.forward.size() + work.backward.size()) * static_cast<std::size_t>(program.microbatches());
  }
  ends_.resize(ends);
  allocate(states_);
}

void VirtualBackend::run_all() {
  for (std::size_t i = 0; i < seconds_.size(); ++i) run(i);
}

double VirtualBackend::now() const {
  return *std::max_element(streams_.begin(), streams_.end());
}

void VirtualBackend::run(std::size_t index) {
  const Step& step = program_.steps(stage_)[index];
  executed_.push_back(index);
  if (step.action == Action::receive) return receive(step);
  if (step.action == Action::send) return send(step, seconds_[index]);
  if (step.action == Action::op) return op(step, seconds_[index]);
  state(step, seconds_[index]);
}

void VirtualBackend::allocate(std::int64_t bytes) {
  now_ += bytes;
  peak_ = std::max(peak_, now_);
}

void VirtualBackend::hold(std::vector<std::uint8_t>& held, std::int32_t unit, bool wanted,
                          std::int64_t bytes) {
  std::uint8_t& has = held[static_cast<std::size_t>(unit)];
  if ((has != 0) == wanted) return;
  has = wanted ? 1 : 0;
  wanted ? allocate(bytes) : release(bytes);
}

double VirtualBackend::meet(const Step& step, double start) {
  for (const Exchange& exchange : view_.exchanges(step))
    start = transport_.maximum(groups_.at(exchange.group), start);
  return start;
}

void VirtualBackend::receive(const Step& step) {
  const std::int64_t place = places_.boundary(step);
  const ClockMessage message = transport_.receive(view_.exchanges(step).front().peer, step.backward);
  TW_CHECK(message.microbatch == step.microbatch && message.chunk == step.chunk);
  TW_CHECK(message.bytes == places_.bytes(place));
  ready_[static_cast<std::size_t>(place)] = message.clock;
  allocate(message.bytes);
}

void VirtualBackend::send(const Step& step, double seconds) {
  const std::int64_t place = places_.boundary(step), bytes = places_.bytes(place);
  const double clock = ready_[static_cast<std::size_t>(place)] + seconds;
  const std::int32_t chunk = step.chunk + (step.backward ? -1 : 1);
  transport_.send(view_.exchanges(step).front().peer, step.backward, {clock, bytes, step.microbatch, chunk});
  release(bytes);
}

std::size_t VirtualBackend::end_at(const Step& step, std::int32_t op) const {
  const LayerWork& work = *units_[static_cast<std::size_t>(step.unit)].work;
  const std::size_t each = work.forward.size() + work.backward.size();
  return first_end_[static_cast<std::size_t>(step.unit)] + each * static_cast<std::size_t>(step.microbatch) +
         (step.backward ? work.forward.size() : 0) + static_cast<std::size_t>(op);
}

double VirtualBackend::start_of(const Step& step, const Operands& operands) {
  const Op& op = op_of(step, units_);
  double start = stream(op.stream);
  for (const std::int16_t before : op.after) {
    if (before >= 0) start = std::max(start, ends_[end_at(step, before)]);
  }
  for (const std::int16_t value : operands.reads) {
    const std::int64_t place = places_.at(step.unit, step.microbatch, value);
    if (place >= 0) start = std::max(start, ready_[static_cast<std::size_t>(place)]);
  }
  const bool tied = operands.what == Operator::linear && operands.weight < 0;
  const std::int32_t unit = tied ? program_.tied_unit(stage_) : step.unit;
  return std::max(start, gathered_at_[static_cast<std::size_t>(unit)]);
}

void VirtualBackend::op(const Step& step, double seconds) {
  const Operands& operands = operands_of(step, units_);
  const double end = meet(step, start_of(step, operands)) + seconds;
  stream(op_of(step, units_).stream) = ends_[end_at(step, step.op)] = end;
  if (writes_weight_gradient(operands, units_[static_cast<std::size_t>(step.unit)].kind)) {
    const std::int32_t unit = operands.weight < 0 ? program_.tied_unit(stage_) : step.unit;
    hold(partial_, unit, true, bytes_[static_cast<std::size_t>(unit)].whole_gradient);
  }
  std::int64_t freed = 0;
  for (const std::int16_t value : step.frees)
    freed += places_.bytes(places_.at(step.unit, step.microbatch, value));
  if (writes_over(operands)) release(std::exchange(freed, 0));
  for (const std::int16_t value : operands.writes) {
    const std::int64_t place = places_.at(step.unit, step.microbatch, value);
    ready_[static_cast<std::size_t>(place)] = end;
    allocate(places_.bytes(place));
  }
  release(freed);
}

void VirtualBackend::state(const Step& step, double seconds) {
  const auto unit = static_cast<std::size_t>(std::max(step.unit, 0));
  if (step.action == Action::release) return hold(gathered_, step.unit, false, bytes_[unit].gathered);
  const bool last = step.action == Action::clip || step.action == Action::update;
  const double start = last ? now() : std::max(stream(Stream::compute), stream(Stream::state));
  const double end = meet(step, start) + seconds;
  stream(last ? Stream::compute : Stream::state) = end;
  if (step.action == Action::gather) {
    gathered_at_[unit] = end;
    hold(gathered_, step.unit, true, bytes_[unit].gathered);
  }
  if (step.action == Action::reduce) hold(partial_, step.unit, false, bytes_[unit].whole_gradient);
}

}  // namespace tw
