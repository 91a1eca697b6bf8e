#include "train/device/lanes.hpp"

#include <utility>

namespace tw::train {

Lanes::Lanes() {
  add(), add();
}

std::int32_t Lanes::add() {
  places_.push_back(&lanes_.emplace_back());
  return static_cast<std::int32_t>(places_.size()) - 1;
}

gpu::Stream Lanes::begin(std::int32_t lane) {
  behind_.record(compute_);
  Lane& l = at(lane);
  behind_.hold(l.stream);
  l.begun.record(l.stream);
  if (trace_ != nullptr) l.opened = trace_->open(l.stream);
  return l.stream;
}

void Lanes::follow(std::int32_t lane) {
  at(lane).begun.hold(compute_);
}

Ticket Lanes::end(std::int32_t lane) {
  Lane& l = at(lane);
  if (spare_.empty()) spare_.emplace_back(false);
  l.open.push_back({++l.issued, std::move(spare_.back()), step_});
  spare_.pop_back();
  if (trace_ != nullptr) trace_->close(l.opened, lane, step_, l.stream);
  l.open.back().event.record(l.stream);
  return {lane, l.issued};
}

void Lanes::await(Ticket ticket) {
  if (passed(ticket)) return;
  Lane& l = at(ticket.lane);
  while (l.open.front().number < ticket.number) {
    spare_.push_back(std::move(l.open.front().event));
    l.open.pop_front();
  }
  if (trace_ != nullptr) trace_->mark(step_);
  l.open.front().event.hold(compute_);
  if (trace_ != nullptr) trace_->mark(l.open.front().step, true);
  spare_.push_back(std::move(l.open.front().event));
  l.open.pop_front();
  l.awaited = ticket.number;
}

bool Lanes::passed(Ticket ticket) const {
  return ticket.lane < 0 || at(ticket.lane).awaited >= ticket.number;
}

bool Lanes::over(Ticket ticket) const {
  if (passed(ticket)) return true;
  for (const Open& each : at(ticket.lane).open) {
    if (each.number == ticket.number) return each.event.over();
  }
  return false;
}

void Lanes::join() {
  for (std::size_t i = 0; i < places_.size(); ++i) {
    if (places_[i]->issued > 0) await({static_cast<std::int32_t>(i), places_[i]->issued});
  }
}

void Lanes::finish() {
  join();
  compute_.wait();
}

}  // namespace tw::train
