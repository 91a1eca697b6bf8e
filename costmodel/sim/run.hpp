// The event loop: every lane of every player runs its operations in order; an operation begins when the host
// has issued it, what it needs has ended, its messages have come and its groups have met. Compute goes at the
// rate that the exchanges in flight beside it leave, exchanges at the rate that the links leave.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "costmodel/sim/fold.hpp"
#include "costmodel/sim/peers.hpp"

namespace tw {

struct Division;

// What an exchange asks of the links, as parts of their capacity at full rate.
struct LinkShare {
  std::int32_t link = 0;
  double share = 0;
};
using LinkShares = std::vector<LinkShare>;

struct RunInput {
  std::span<const StageCode> code;
  const Players* players = nullptr;
  std::vector<double> slow;  // by player, of its compute; empty: none
  double jitter = 0;         // relative standard deviation of each computation's time
  std::uint64_t seed = 0;
  // Of an operation, where ranks differ in it; empty: as their list says.
  std::function<SimTime(const SimOp& op, std::int32_t player)> work;
  // Contention: what the exchange of `op`, `work` long, among a group of a kind (-1: a message of the player)
  // asks for; empty: nobody shares a link.
  std::function<const LinkShares&(const SimOp& op, std::int32_t player, std::int32_t kind, SimTime work)>
      shares;
  std::size_t links = 0;
  bool timeline = false;
  // Where several processes play: `players` with the members that this one plays alone, everyone, who plays
  // whom, and the others. Null: one process plays all.
  const Players* everyone = nullptr;
  const Division* division = nullptr;
  SimPeers* peers = nullptr;
};

struct SimSlice {
  std::int32_t player = 0;
  Lane lane = Lane::compute;
  std::int32_t op = 0;  // of the lane
  SimTime begin = 0, end = 0;
  auto key() const { return std::tuple(end, player, lane, op); }
  friend bool operator<(const SimSlice& a, const SimSlice& b) { return a.key() < b.key(); }
};

struct PlayerTimes {
  SimTime end = 0;
  std::array<SimTime, kTerms> terms{};  // of its compute stream: at work, and waiting for what
};

struct LinkUse {
  double busy = 0;  // seconds at full rate
};
// What one exchange took of a link, with a timeline.
struct LinkSpan {
  std::int32_t link = 0;
  SimTime begin = 0, end = 0;
  double share = 0;
};

struct RunResult {
  SimTime end = 0;
  std::vector<PlayerTimes> players;
  std::int64_t events = 0;              // that were handled
  std::int64_t operations = 0;          // that ended, of all players
  std::int64_t program_operations = 0;  // of them operations of unit lists
  std::int64_t bytes_per_player = 0;    // of the state that a run keeps for each
  std::vector<SimSlice> timeline;
  std::vector<LinkUse> links;
  std::vector<LinkSpan> link_spans;
};
// Of several processes the first has the whole result, the others their part.
RunResult run_simulation(const RunInput& input);

}  // namespace tw
