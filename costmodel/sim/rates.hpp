// What is under way, and how fast: compute beside exchanges, exchanges beside products and beside each other
// on shared links. Private to costmodel/sim.
#pragma once

#include "costmodel/sim/events.hpp"
#include "costmodel/sim/run_state.hpp"
#include "costmodel/sim/sharing.hpp"

namespace tw {

class Rates {
 protected:
  explicit Rates(const RunInput& input)
      : in_(input), who_(*input.players), players_(who_.size()), sharing_(input.links) {}

  const StageCode& code(std::int32_t player) const { return in_.code[at(who_.stage[at(player)])]; }
  const std::vector<SimOp>& list(std::int32_t player, Lane lane) const {
    return code(player).lanes[at(lane)];
  }

  template <class Do>
  void each_member(const Activity& activity, Do&& act) {
    if (activity.kind < 0) return act(activity.player);
    for (const std::int32_t p : who_.kinds[at(activity.kind)].at(activity.group)) act(p);
  }

  void schedule(std::int32_t id) {
    const Activity& activity = activities_[id];
    const auto lane = static_cast<std::int8_t>(activity.lane);
    events_.push({activity.end, activity.player, lane, false, activity.version, id});
  }

  // --- compute, and what runs beside it ---

  void begin_compute(std::int32_t p, const SimOp& op, Term cause) {
    Player& player = players_[at(p)];
    if (now_ > player.free) out_.players[at(p)].terms[static_cast<std::size_t>(cause)] += now_ - player.free;
    player.left = work_of_rank(in_, at(p), op, player.next[at(Lane::compute)]),
    player.since = player.began = now_;
    player.computing = true;
    if (op.yields < kFull) yield_to_flight(p, op);
    player.rate = std::max(kFull - player.lost, kLeast);
    schedule_compute(p);
  }
  void schedule_compute(std::int32_t p) {
    Player& player = players_[at(p)];
    events_.push({now_ + time_for(player.left, player.rate), p, 0, false, ++player.version, -1});
  }
  // As `resolve` has it: a product and the exchange in flight want the same multiprocessors. An exchange that
  // was there before gets on beside the last part of the product; the product takes longer by what is left,
  // at most once more as long. One that begins with or within a product gets on in its last part only.
  void yield_to_flight(std::int32_t p, const SimOp& op) {
    Player& player = players_[at(p)];
    if (player.flight < 0) return;
    const Activity& flight = activities_[player.flight];
    if (flight.end <= now_) return;
    if (flight.began < now_) {
      player.left += std::min(over_of(flight.end - now_, op, player.left), player.left);
    } else if (flight.op->step < op.step) {  // each member holds it back by itself, whoever comes first
      push_back(player.flight, now_ + player.left + over_of(flight.work, op, player.left));
    }
  }
  void begin_beside(std::int32_t p, std::int32_t id) {
    Player& player = players_[at(p)];
    player.flight = id;
    if (!player.computing) return;
    const SimOp& product = list(p, Lane::compute)[at(player.next[at(Lane::compute)])];
    const Activity& activity = activities_[id];
    if (product.yields == kFull || product.step < activity.op->step) return;
    const SimTime left = player.left - work_in(now_ - player.since, player.rate);
    if (left <= 0) return;
    const SimTime end = now_ + time_for(left, player.rate);
    push_back(id, end + over_of(activity.work, product, product.work));
  }
  void push_back(std::int32_t id, SimTime end) {
    Activity& activity = activities_[id];
    if (end <= activity.end) return;
    activity.left += work_in(end - activity.end, activity.rate);
    activity.end = end;
    ++activity.version;
    schedule(id);
  }

  // What runs aside has the same links as the network stream, which goes first.
  void hold(std::int32_t id) {
    Activity& activity = activities_[id];
    if (activity.held++ > 0) return;
    activity.left = std::max<SimTime>(activity.left - work_in(now_ - activity.since, activity.rate), 0);
    activity.since = now_;
    ++activity.version;  // no end is in sight
  }
  void release(std::int32_t id) {
    Activity& activity = activities_[id];
    if (--activity.held > 0) return;
    activity.since = now_, activity.end = now_ + time_for(activity.left, activity.rate);
    ++activity.version;
    schedule(id);
  }

  void lose(std::int32_t p, std::int32_t lost) {
    Player& player = players_[at(p)];
    player.lost += lost;
    if (!player.computing) return;
    const std::int32_t rate = std::max(kFull - player.lost, kLeast);
    player.left -= work_in(now_ - player.since, player.rate);
    player.since = now_, player.rate = rate;
    schedule_compute(p);
  }

  // --- links ---

  void share(std::int32_t id, const Activity& activity) {
    const LinkShares& shares = in_.shares(*activity.op, activity.player, activity.kind, activity.work);
    if (!shares.empty()) sharing_.add(id, shares);
    for (const LinkShare& each : shares)
      out_.links[at(each.link)].busy += each.share * seconds(activity.left);
  }
  void unshare(std::int32_t id, const Activity& activity) {
    sharing_.remove(id);
    if (!in_.timeline || activity.work == 0 || now_ == activity.began) return;
    const double pace = seconds(activity.work) / seconds(now_ - activity.began);
    for (const LinkShare& each : in_.shares(*activity.op, activity.player, activity.kind, activity.work))
      out_.link_spans.push_back({each.link, activity.began, now_, each.share * pace});
  }

  // New rates for all that share links with what began or ended now.
  void settle() {
    if (!sharing_.dirty()) return;
    sharing_.solve([&](std::int32_t id, std::int32_t rate) {
      Activity& activity = activities_[id];
      if (activity.rate == rate) return;
      if (activity.held > 0) return void(activity.rate = rate);
      activity.left -= work_in(now_ - activity.since, activity.rate);
      activity.since = now_, activity.rate = rate;
      activity.end = now_ + time_for(std::max<SimTime>(activity.left, 0), rate);
      ++activity.version;
      schedule(id);
    });
  }

  const RunInput& in_;
  const Players& who_;
  std::vector<Player> players_;
  Activities activities_;
  SimEvents events_;
  Sharing sharing_;
  SimTime now_ = 0;
  RunResult out_;
};

}  // namespace tw
