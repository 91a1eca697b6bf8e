// Plays the exchanges of all ranks. Sends are buffered; a receive waits for the next message of its peer
// in its direction; a collective waits until every member of its group stands at it.
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>
#include <tuple>

#include "costmodel/program/verify.hpp"

namespace tw {
namespace {

class Traffic {
 public:
  explicit Traffic(const ProgramSteps& program)
      : program_(program), cursors_(program.ranks.size()), waiting_(program.groups.size()) {}

  std::vector<Finding> run() {
    for (std::int32_t rank = 0; rank < static_cast<std::int32_t>(cursors_.size()); ++rank)
      ready_.push_back(rank);
    while (!ready_.empty()) {
      const std::int32_t rank = ready_.front();
      ready_.pop_front();
      advance(rank);
    }
    report_blocked();
    report_unread();
    return std::move(findings_);
  }

 private:
  struct Cursor {
    std::size_t step = 0, exchange = 0;
    bool arrived = false;  // counted in waiting_
  };
  struct Message {
    std::int32_t microbatch = 0, chunk = 0;  // of the receiver
    std::int64_t bytes = 0;
    std::size_t step = 0;  // of the sender
  };
  using Channel = std::tuple<std::int32_t, std::int32_t, bool>;  // from, to, backward

  Cursor& cursor(std::int32_t rank) { return cursors_[static_cast<std::size_t>(rank)]; }
  const RankSteps& steps(std::int32_t rank) const { return program_.ranks[static_cast<std::size_t>(rank)]; }
  const RankStep& at(std::int32_t rank) { return steps(rank).steps[cursor(rank).step]; }
  const Exchange& exchange(std::int32_t rank) { return at(rank).exchanges[cursor(rank).exchange]; }
  // Moves on to the next exchange that there is; false at the end.
  bool find(std::int32_t rank) {
    Cursor& c = cursor(rank);
    const std::vector<RankStep>& all = steps(rank).steps;
    while (c.step < all.size() && c.exchange >= all[c.step].exchanges.size()) ++c.step, c.exchange = 0;
    return c.step < all.size();
  }

  template <class... Args>
  void refuse(std::int32_t rank, std::size_t step, fmt::format_string<Args...> text, Args&&... args) {
    if (findings_.size() >= kMostFindings * cursors_.size()) return;
    const RankSteps& mine = steps(rank);
    const std::vector<Unit>& units = program_.stages[static_cast<std::size_t>(mine.stage)].units;
    findings_.push_back({rank, step, to_string(mine.steps[step].step, units),
                         fmt::format(text, std::forward<Args>(args)...)});
  }

  void advance(std::int32_t rank) {
    while (find(rank)) {
      const Exchange& e = exchange(rank);
      if (e.kind == Exchange::Kind::send) {
        send(rank, e);
      } else if (e.kind == Exchange::Kind::receive) {
        if (!receive(rank, e)) return;
      } else if (!meet(rank, e)) {
        return;
      }
    }
  }

  void send(std::int32_t rank, const Exchange& e) {
    const Step& step = at(rank).step;
    const std::int32_t chunk = step.chunk + (step.backward ? -1 : 1);
    channels_[{rank, e.peer.value(), step.backward}].push_back(
        {step.microbatch, chunk, e.bytes, cursor(rank).step});
    ++cursor(rank).exchange;
    ready_.push_back(e.peer.value());
  }

  bool receive(std::int32_t rank, const Exchange& e) {
    const Step& step = at(rank).step;
    std::deque<Message>& channel = channels_[{e.peer.value(), rank, step.backward}];
    if (channel.empty()) return false;
    const Message message = channel.front();
    channel.pop_front();
    if (message.microbatch != step.microbatch || message.chunk != step.chunk) {
      refuse(rank, cursor(rank).step,
             "the next message of rank {} is micro-batch {} for chunk {} (its step {})", e.peer.value(),
             message.microbatch, message.chunk, message.step);
    } else if (message.bytes != e.bytes) {
      refuse(rank, cursor(rank).step, "expects {} bytes, rank {} sends {} (its step {})", e.bytes,
             e.peer.value(), message.bytes, message.step);
    }
    ++cursor(rank).exchange;
    return true;
  }

  bool meet(std::int32_t rank, const Exchange& e) {
    const std::vector<Rank>& members = program_.groups.at(e.group);
    if (std::find(members.begin(), members.end(), Rank(rank)) == members.end()) {
      refuse(rank, cursor(rank).step, "is no member of the group of its {}", name_of(e.kind));
      ++cursor(rank).exchange;
      return true;
    }
    if (!cursor(rank).arrived) {
      cursor(rank).arrived = true;
      ++waiting_[static_cast<std::size_t>(e.group)];
    }
    if (waiting_[static_cast<std::size_t>(e.group)] < members.size()) return false;
    waiting_[static_cast<std::size_t>(e.group)] = 0;
    compare(members);
    for (const Rank member : members) {
      Cursor& c = cursor(member.value());
      c.arrived = false, ++c.exchange;
      ready_.push_back(member.value());
    }
    return false;
  }

  // Those who differ from what most members do are named.
  void compare(const std::vector<Rank>& members) {
    const auto agrees = [&](Rank one) {
      return std::count_if(members.begin(), members.end(),
                           [&](Rank other) { return alike(one.value(), other.value()); });
    };
    const auto all = static_cast<std::ptrdiff_t>(members.size());
    if (agrees(members.front()) == all) return;
    const Rank best = *std::max_element(members.begin(), members.end(),
                                        [&](Rank a, Rank b) { return agrees(a) < agrees(b); });
    for (const Rank member : members) {
      if (alike(member.value(), best.value())) continue;
      const Exchange &mine = exchange(member.value()), &theirs = exchange(best.value());
      refuse(member.value(), cursor(member.value()).step,
             "does {} of {} bytes, rank {} of its group does {} of {} bytes (its step {})",
             name_of(mine.kind), mine.bytes, best.value(), name_of(theirs.kind), theirs.bytes,
             cursor(best.value()).step);
    }
  }
  bool alike(std::int32_t one, std::int32_t other) {
    const Step &a = at(one).step, &b = at(other).step;
    const bool same_step =
        a.action == b.action && a.microbatch == b.microbatch && a.backward == b.backward && a.op == b.op;
    return same_step && exchange(one) == exchange(other) && same_weights(one, other);
  }
  bool same_weights(std::int32_t one, std::int32_t other) {
    if (at(one).step.unit < 0 || at(other).step.unit < 0) return at(one).step.unit == at(other).step.unit;
    const Unit &a = unit(one), &b = unit(other);
    return a.kind == b.kind && a.layer == b.layer;
  }
  const Unit& unit(std::int32_t rank) {
    const StageFacts& facts = program_.stages[static_cast<std::size_t>(steps(rank).stage)];
    return facts.units[static_cast<std::size_t>(at(rank).step.unit)];
  }

  void report_blocked() {
    for (std::int32_t rank = 0; rank < static_cast<std::int32_t>(cursors_.size()); ++rank) {
      if (!find(rank)) continue;
      const Exchange& e = exchange(rank);
      if (e.kind == Exchange::Kind::receive) {
        refuse(rank, cursor(rank).step, "deadlock: waits for a message of rank {} that does not come",
               e.peer.value());
        continue;
      }
      std::string absent;
      for (const Rank member : program_.groups.at(e.group)) {
        const bool here = find(member.value()) && exchange(member.value()).group == e.group;
        if (!here) absent += fmt::format("{}{}", absent.empty() ? "" : ", ", member.value());
      }
      refuse(rank, cursor(rank).step, "deadlock: its {} waits for rank {}", name_of(e.kind), absent);
    }
  }

  void report_unread() {
    for (const auto& [channel, messages] : channels_) {
      for (const Message& message : messages)
        refuse(std::get<0>(channel), message.step, "rank {} never receives it", std::get<1>(channel));
    }
  }

  const ProgramSteps& program_;
  std::vector<Cursor> cursors_;
  std::vector<std::size_t> waiting_;
  std::map<Channel, std::deque<Message>> channels_;
  std::deque<std::int32_t> ready_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> verify_traffic(const ProgramSteps& steps) {
  return Traffic(steps).run();
}

}  // namespace tw
