#include "costmodel/sim/run.hpp"

#include <algorithm>
#include <utility>

#include "costmodel/sim/events.hpp"
#include "costmodel/sim/run_state.hpp"
#include "costmodel/sim/sharing.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

class Run {
 public:
  explicit Run(const RunInput& input)
      : in_(input), who_(*input.players), players_(who_.size()), sharing_(input.links) {
    out_.players.resize(who_.size());
    out_.links.resize(input.links);
    out_.bytes_per_player = sizeof(Player) + sizeof(PlayerTimes);
    for (Player& player : players_) player.wakes.fill(kNever);
    for (const PlayedKind& kind : who_.kinds) met_.emplace_back(kind.first.size() - 1, 0);
  }

  RunResult go() {
    for (std::int32_t p = 0; p < static_cast<std::int32_t>(players_.size()); ++p) look(p, Term::host);
    settle();
    while (!events_.empty()) {
      const SimEvent event = events_.pop();
      if (sharing_.dirty() && event.at > now_) {
        events_.push(event);
        settle();
        continue;
      }
      now_ = event.at;
      handle(event);
    }
    finish();
    return std::move(out_);
  }

 private:
  const StageCode& code(std::int32_t player) const { return in_.code[at(who_.stage[at(player)])]; }
  const std::vector<SimOp>& list(std::int32_t player, Lane lane) const {
    return code(player).lanes[at(lane)];
  }

  void finish() {
    for (std::int32_t p = 0; p < static_cast<std::int32_t>(players_.size()); ++p) {
      for (int lane = 0; lane < kLanes; ++lane) {
        const auto l = static_cast<Lane>(lane);
        TW_CHECK(static_cast<std::size_t>(players_[at(p)].next[at(l)]) == list(p, l).size());  // no deadlock
      }
      out_.end = std::max(out_.end, out_.players[at(p)].end);
    }
  }

  void handle(const SimEvent& event) {
    if (event.wakes) {
      if (players_[at(event.rank)].wakes[static_cast<std::size_t>(event.lane)] != event.at) return;
      players_[at(event.rank)].wakes[static_cast<std::size_t>(event.lane)] = kNever;
      ++out_.events;
      return try_lane(event.rank, static_cast<Lane>(event.lane), Term::host);
    }
    if (event.activity >= 0) {
      const Activity& activity = activities_[at(event.activity)];
      if (!activity.active || activity.version != event.version) return;
      ++out_.events;
      return end_activity(event.activity);
    }
    const bool compute = static_cast<Lane>(event.lane) == Lane::compute;
    if (compute && players_[at(event.rank)].version != event.version) return;
    ++out_.events;
    return compute ? end_compute(event.rank) : end_host(event.rank);
  }

  // --- beginning ---

  void look(std::int32_t p, Term cause) {
    for (int lane = 0; lane < kLanes; ++lane) try_lane(p, static_cast<Lane>(lane), cause);
  }

  bool ready(const Player& player, const SimOp& op) const {
    for (std::size_t i = 0; i < kCountedLanes; ++i) {
      if (player.ended[i] < op.need[i]) return false;
    }
    return op.channel < 0 || player.arrived[at(op.channel)] >= op.arrivals;
  }

  void try_lane(std::int32_t p, Lane lane, Term cause) {
    Player& player = players_[at(p)];
    const std::vector<SimOp>& ops = list(p, lane);
    for (;;) {
      if (player.busy[at(lane)] || at(player.next[at(lane)]) == ops.size()) return;
      const SimOp& op = ops[at(player.next[at(lane)])];
      if (op.segment > player.segment || !ready(player, op)) return;
      if (op.segment == player.segment && player.host + op.issue > now_)
        return wake(p, lane, player.host + op.issue);
      if (lane >= Lane::forward_out) {
        ++player.next[at(lane)];
        begin_activity(p, -1, -1, lane, op, op.work);
        continue;
      }
      player.busy[at(lane)] = true;
      player.meeting[at(lane)] = 0;
      return meet(p, lane, op, cause);
    }
  }

  void wake(std::int32_t p, Lane lane, SimTime when) {
    if (std::exchange(players_[at(p)].wakes[at(lane)], when) == when) return;
    events_.push({.at = when, .rank = p, .lane = static_cast<std::int8_t>(lane), .wakes = true});
  }

  // Groups meet one after another; the last of the last one begins for all of them.
  void meet(std::int32_t p, Lane lane, const SimOp& op, Term cause) {
    std::int8_t& met = players_[at(p)].meeting[at(lane)];
    for (; static_cast<std::size_t>(met) < op.groups.size(); ++met) {
      const std::int32_t kind = op.groups[static_cast<std::size_t>(met)];
      const PlayedKind& played = who_.kinds[at(kind)];
      const std::int32_t group = played.of_player[at(p)];
      std::int32_t& here = met_[at(kind)][at(group)];
      const std::span<const std::int32_t> members = played.at(group);
      if (++here < static_cast<std::int32_t>(members.size())) return;
      here = 0;
      if (static_cast<std::size_t>(met) + 1 == op.groups.size()) return begin_group(kind, group, lane, op);
      for (const std::int32_t other : members) {
        if (other == p) continue;
        Player& waiting = players_[at(other)];
        ++waiting.meeting[at(lane)];
        meet(other, lane, list(other, lane)[at(waiting.next[at(lane)])], cause);
      }
    }
    if (lane == Lane::compute) return begin_compute(p, op, cause);
    if (lane == Lane::host) {
      events_.push({.at = now_ + op.work, .rank = p, .lane = static_cast<std::int8_t>(lane)});
      return;
    }
    begin_activity(p, -1, -1, lane, op, op.work);
  }

  void begin_group(std::int32_t kind, std::int32_t group, Lane lane, const SimOp& op) {
    const std::span<const std::int32_t> members = who_.kinds[at(kind)].at(group);
    if (lane == Lane::compute) {  // on the compute stream: each rank's own, all at once
      for (const std::int32_t p : members)
        begin_compute(p, list(p, lane)[at(players_[at(p)].next[at(lane)])],
                      op.listed ? op.term : Term::bubble);
      return;
    }
    SimTime work = 0;
    for (const std::int32_t p : members)
      work = std::max(work, work_alone(in_, list(p, lane)[at(players_[at(p)].next[at(lane)])], p));
    begin_activity(members.front(), kind, group, lane, op, work);
  }

  std::int32_t new_activity() {
    if (free_.empty()) free_.push_back(static_cast<std::int32_t>(activities_.size()));
    if (at(free_.back()) == activities_.size()) activities_.emplace_back();
    const std::int32_t id = free_.back();
    free_.pop_back();
    return id;
  }

  template <class Do>
  void each_member(const Activity& activity, Do&& act) {
    if (activity.kind < 0) return act(activity.player);
    for (const std::int32_t p : who_.kinds[at(activity.kind)].at(activity.group)) act(p);
  }

  void begin_activity(std::int32_t p, std::int32_t kind, std::int32_t group, Lane lane, const SimOp& op,
                      SimTime work) {
    const std::int32_t id = new_activity();
    Activity& activity = activities_[at(id)];
    const std::uint32_t version = activity.version + 1;
    activity = {work, work, now_, now_, now_ + work, kFull, version, p, kind, group, lane, &op, 0, true};
    if (in_.shares && work > 0) share(id, activity);
    if (lane == Lane::network) {
      each_member(activity, [&](std::int32_t m) {
        begin_beside(m, id);
        if (players_[at(m)].aside >= 0) hold(players_[at(m)].aside);
      });
    }
    if (lane == Lane::aside) {
      each_member(activity, [&](std::int32_t m) {
        players_[at(m)].aside = id;
        if (players_[at(m)].flight >= 0) hold(id);
      });
    }
    if (op.lost > 0) each_member(activity, [&](std::int32_t m) { lose(m, op.lost); });
    if (activity.version == version) schedule(id);  // else it is: something pushed it back
  }

  void schedule(std::int32_t id) {
    const Activity& activity = activities_[at(id)];
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
    const Activity& flight = activities_[at(player.flight)];
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
    const Activity& activity = activities_[at(id)];
    if (product.yields == kFull || product.step < activity.op->step) return;
    const SimTime left = player.left - work_in(now_ - player.since, player.rate);
    if (left <= 0) return;
    const SimTime end = now_ + time_for(left, player.rate);
    push_back(id, end + over_of(activity.work, product, product.work));
  }
  void push_back(std::int32_t id, SimTime end) {
    Activity& activity = activities_[at(id)];
    if (end <= activity.end) return;
    activity.left += work_in(end - activity.end, activity.rate);
    activity.end = end;
    ++activity.version;
    schedule(id);
  }

  // What runs aside has the same links as the network stream, which goes first.
  void hold(std::int32_t id) {
    Activity& activity = activities_[at(id)];
    if (activity.held++ > 0) return;
    activity.left = std::max<SimTime>(activity.left - work_in(now_ - activity.since, activity.rate), 0);
    activity.since = now_;
    ++activity.version;  // no end is in sight
  }
  void release(std::int32_t id) {
    Activity& activity = activities_[at(id)];
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

  // --- ending ---

  void record(std::int32_t p, Lane lane, std::int32_t op, SimTime begin) {
    if (in_.timeline) out_.timeline.push_back({p, lane, op, begin, now_});
  }
  void count(std::int32_t p, const SimOp& op) {
    ++out_.operations;
    out_.program_operations += op.listed;
    out_.players[at(p)].end = now_;
  }

  void end_compute(std::int32_t p) {
    Player& player = players_[at(p)];
    const std::int32_t n = player.next[at(Lane::compute)]++;
    const SimOp& op = list(p, Lane::compute)[at(n)];
    std::array<SimTime, kTerms>& terms = out_.players[at(p)].terms;
    const SimTime work = work_of_rank(in_, at(p), op, n), taken = now_ - player.began;
    terms[static_cast<std::size_t>(op.term)] += std::min(work, taken);
    terms[static_cast<std::size_t>(Term::interference)] += taken - std::min(work, taken);
    player.busy[at(Lane::compute)] = player.computing = false;
    player.free = now_;
    ++player.version;
    player.ended[at(Lane::compute)] = n + 1;
    record(p, Lane::compute, n, player.began);
    count(p, op);
    look(p, op.term);
  }
  void end_host(std::int32_t p) {
    Player& player = players_[at(p)];
    const std::int32_t n = player.next[at(Lane::host)]++;
    player.busy[at(Lane::host)] = false;
    player.ended[at(Lane::host)] = n + 1;
    player.host = now_, ++player.segment;
    count(p, list(p, Lane::host)[at(n)]);
    look(p, Term::host);
  }

  void end_activity(std::int32_t id) {
    const Activity activity = activities_[at(id)];
    activities_[at(id)].active = false;
    ++activities_[at(id)].version;
    if (in_.shares) unshare(id, activity);
    free_.push_back(id);
    const SimOp& op = *activity.op;
    if (activity.lane >= Lane::forward_out) return arrive(activity);
    each_member(activity, [&](std::int32_t p) {
      Player& player = players_[at(p)];
      const std::int32_t n = player.next[at(activity.lane)]++;
      player.busy[at(activity.lane)] = false;
      player.ended[at(activity.lane)] = n + 1;
      if (activity.lane == Lane::aside) player.aside = -1;
      if (activity.lane == Lane::network) {
        player.flight = -1;
        if (player.aside >= 0) release(player.aside);
      }
      record(p, activity.lane, n, activity.began);
      count(p, list(p, activity.lane)[at(n)]);
      if (op.lost > 0) lose(p, -op.lost);
    });
    each_member(activity, [&](std::int32_t p) { look(p, op.term); });
  }
  void arrive(const Activity& activity) {
    const SimOp& op = *activity.op;
    ++out_.operations;
    if (in_.timeline) {
      const std::vector<SimOp>& ops = list(activity.player, activity.lane);
      record(activity.player, activity.lane, static_cast<std::int32_t>(&op - ops.data()), activity.began);
    }
    out_.players[at(activity.player)].end = std::max(out_.players[at(activity.player)].end, now_);
    const std::int32_t to = who_.peer[at(activity.player)][at(op.to)];
    ++players_[at(to)].arrived[at(op.delivers)];
    look(to, Term::bubble);
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
      Activity& activity = activities_[at(id)];
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
  std::vector<std::vector<std::int32_t>> met_;  // by kind and group: members that wait
  std::vector<Activity> activities_;
  std::vector<std::int32_t> free_;
  SimEvents events_;
  Sharing sharing_;
  SimTime now_ = 0;
  RunResult out_;
};

}  // namespace

RunResult run_simulation(const RunInput& input) {
  return Run(input).go();
}

}  // namespace tw
