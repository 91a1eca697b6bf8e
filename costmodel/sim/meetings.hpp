// Who has come to which group. Members may be played by several processes: each says when its own have come,
// and a group begins when the last has. Conservative (Chandy and Misra 1979; Bryant 1977): a process that
// waits for others handles no event later than what they may still say; they say how far they are, and whose
// notes they had read by then.
#pragma once

#include <map>
#include <utility>

#include "costmodel/sim/division.hpp"

namespace tw {

// A group of which all members have come, the last elsewhere.
struct Met {
  std::int32_t kind = 0, group = 0;
  SimTime at = 0, work = 0;
  Lane lane = Lane::network;
};

class Meetings {
 public:
  // division and peers: null where one process plays all.
  Meetings(const Players& own, const Players& all, const Division* division, SimPeers* peers);

  // One more of those played here has come; whether it was the last of them.
  bool all_here(std::int32_t kind, std::int32_t group) {
    std::int32_t& here = here_[static_cast<std::size_t>(kind)][static_cast<std::size_t>(group)];
    if (++here < static_cast<std::int32_t>(own_.kinds[static_cast<std::size_t>(kind)].at(group).size()))
      return false;
    here = 0;
    return true;
  }
  // Tells others who play members that those here have come, and their exchange's `work`. Whether theirs
  // have, by now: then `work` is the most of any. Else it will be in met().
  bool all_elsewhere(std::int32_t kind, std::int32_t group, Lane lane, SimTime now, SimTime& work) {
    return alone_ || told(kind, group, lane, now, work);
  }

  // Whether nothing that others still say can concern what is before or at `next` (kNever: nothing more is
  // to be done). Where not, it has told them and read a note of theirs: what was met by it is in met().
  bool clear(SimTime next) { return alone_ || concerns_nobody(next); }
  std::vector<Met> met() { return met_.empty() ? std::vector<Met>() : std::exchange(met_, {}); }

  // Its first member is played here.
  bool owns(std::int32_t kind, std::int32_t group) const {
    return alone_ || kind < 0 || plays_first(kind, group);
  }
  // This process's part to the first, which then has all of it.
  void gather(RunResult& result);

 private:
  enum class Says : std::int64_t { came, far, found };
  struct Round {
    std::int32_t parts = 0;
    SimTime at = 0, work = 0;
  };
  struct Crossing {
    std::int32_t parts = 0;
    Lane lane = Lane::network;
    std::int64_t round = 0;  // that is under way
    bool waits = false;      // those here have come
    std::map<std::int64_t, Round> rounds;
  };
  using Key = std::pair<std::int32_t, std::int32_t>;

  bool told(std::int32_t kind, std::int32_t group, Lane lane, SimTime now, SimTime& work);
  bool concerns_nobody(SimTime next);
  bool plays_first(std::int32_t kind, std::int32_t group) const;
  void tell(const SimPeers::Words& words);
  void tell_how_far(SimTime next);
  void read(const SimPeers::Note& note);
  void read_came(std::int32_t from, const SimPeers::Words& words);
  SimTime bound() const;

  const Players& own_;
  const Players& all_;
  const Division* division_;
  SimPeers* peers_;
  bool alone_;
  std::int32_t turns_ = 0;
  std::vector<std::vector<std::int32_t>> here_;  // by kind and group: own members that wait
  std::map<Key, Crossing> crossing_;
  std::int32_t waiting_ = 0;  // crossings
  std::vector<Met> met_;
  std::vector<SimTime> far_;                    // by process: its next event, as it last said
  std::vector<std::vector<std::int64_t>> had_;  // by process: notes of each that it had read by then
  std::vector<std::vector<SimTime>> said_;      // by process: times of what it said had come
  SimPeers::Words last_;                        // how far we said we were
  std::vector<SimPeers::Words> found_;
};

}  // namespace tw
