#include "costmodel/sim/run.hpp"

#include <algorithm>
#include <utility>

#include "costmodel/sim/meetings.hpp"
#include "costmodel/sim/rates.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

class Run : Rates {
 public:
  explicit Run(const RunInput& input)
      : Rates(input), meetings_(who_, input.everyone ? *input.everyone : who_, input.division, input.peers) {
    out_.players.resize(who_.size());
    out_.links.resize(input.links);
    out_.bytes_per_player = sizeof(Player) + sizeof(PlayerTimes);
    for (Player& player : players_) player.wakes.fill(kNever);
  }

  RunResult go() {
    each_own([&](std::int32_t p) { look(p, Term::host); });
    settle();
    while (advance()) {
    }
    finish();
    meetings_.gather(out_);
    std::sort(out_.timeline.begin(), out_.timeline.end());  // by time, whoever played it
    return std::move(out_);
  }

 private:
  // The next event, or what others say before it; false where nothing is left.
  bool advance() {
    for (const Met& met : meetings_.met()) {
      const std::int32_t first = who_.kinds[at(met.kind)].at(met.group).front();
      events_.push(
          {met.at, first, static_cast<std::int8_t>(met.lane), false, 0, met.kind, met.group, met.work});
    }
    const SimTime next = events_.next();
    if (!meetings_.clear(next)) return true;
    if (next == kNever) return false;
    if (sharing_.dirty() && next > now_) {
      settle();
      return true;
    }
    now_ = next;
    handle(events_.pop());
    return true;
  }

  template <class Do>
  void each_own(Do&& act) const {
    for (std::int32_t p = 0; p < static_cast<std::int32_t>(players_.size()); ++p)
      if (!in_.division || in_.division->part[at(p)] == in_.peers->self) act(p);
  }
  void finish() {
    each_own([&](std::int32_t p) {
      for (int lane = 0; lane < kLanes; ++lane) {
        const auto l = static_cast<Lane>(lane);
        TW_CHECK(static_cast<std::size_t>(players_[at(p)].next[at(l)]) == list(p, l).size());  // no deadlock
      }
      out_.end = std::max(out_.end, out_.players[at(p)].end);
    });
  }

  void handle(const SimEvent& event) {
    if (event.group >= 0) return joined(event);
    if (event.wakes) {
      if (players_[at(event.rank)].wakes[static_cast<std::size_t>(event.lane)] != event.at) return;
      players_[at(event.rank)].wakes[static_cast<std::size_t>(event.lane)] = kNever;
      ++out_.events;
      return try_lane(event.rank, static_cast<Lane>(event.lane), Term::host);
    }
    if (event.activity >= 0) {
      const Activity& activity = activities_[event.activity];
      if (!activity.active || activity.version != event.version) return;
      out_.events += meetings_.owns(activity.kind, activity.group);
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
        begin_activity(p, -1, -1, lane, op, work_alone(in_, op, p));
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
      if (!meetings_.all_here(kind, group)) return;
      SimTime work = work_of_group(kind, group, lane);
      if (!meetings_.all_elsewhere(kind, group, lane, now_, work)) return;
      if (static_cast<std::size_t>(met) + 1 == op.groups.size())
        return begin_group(kind, group, lane, op, work);
      for (const std::int32_t other : played.at(group)) {
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
    begin_activity(p, -1, -1, lane, op, work_alone(in_, op, p));
  }

  // The last came elsewhere.
  void joined(const SimEvent& event) {
    const auto lane = static_cast<Lane>(event.lane);
    const std::int32_t kind = event.activity, group = event.group;
    const auto op_now = [&](std::int32_t p) -> const SimOp& {
      return list(p, lane)[at(players_[at(p)].next[at(lane)])];
    };
    const SimOp& op = op_now(event.rank);
    if (static_cast<std::size_t>(players_[at(event.rank)].meeting[at(lane)]) + 1 == op.groups.size())
      return begin_group(kind, group, lane, op, event.work);
    for (const std::int32_t p : who_.kinds[at(kind)].at(group)) {
      ++players_[at(p)].meeting[at(lane)];
      meet(p, lane, op_now(p), op.term);
    }
  }

  SimTime work_of_group(std::int32_t kind, std::int32_t group, Lane lane) const {
    SimTime work = 0;
    if (lane == Lane::compute) return work;  // each rank's own
    for (const std::int32_t p : who_.kinds[at(kind)].at(group))
      work = std::max(work, work_alone(in_, list(p, lane)[at(players_[at(p)].next[at(lane)])], p));
    return work;
  }

  void begin_group(std::int32_t kind, std::int32_t group, Lane lane, const SimOp& op, SimTime work) {
    const std::span<const std::int32_t> members = who_.kinds[at(kind)].at(group);
    if (lane == Lane::compute) {  // on the compute stream: each rank's own, all at once
      for (const std::int32_t p : members)
        begin_compute(p, list(p, lane)[at(players_[at(p)].next[at(lane)])],
                      op.listed ? op.term : Term::bubble);
      return;
    }
    begin_activity(members.front(), kind, group, lane, op, work);
  }

  void begin_activity(std::int32_t p, std::int32_t kind, std::int32_t group, Lane lane, const SimOp& op,
                      SimTime work) {
    const std::int32_t id = activities_.make();
    Activity& activity = activities_[id];
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
    const Activity activity = activities_[id];
    activities_[id].active = false;
    ++activities_[id].version;
    if (in_.shares) unshare(id, activity);
    activities_.release(id);
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

  Meetings meetings_;
};

}  // namespace

RunResult run_simulation(const RunInput& input) {
  return Run(input).go();
}

}  // namespace tw
