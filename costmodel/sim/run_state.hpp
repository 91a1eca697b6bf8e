// What a run of the simulator keeps of exchanges under way and of players. Private to costmodel/sim.
#pragma once

#include <algorithm>
#include <cmath>

#include "costmodel/sim/run.hpp"

namespace tw {

inline std::size_t at(Lane lane) {
  return static_cast<std::size_t>(lane);
}
inline std::size_t at(std::int32_t index) {
  return static_cast<std::size_t>(index);
}

inline constexpr std::int32_t kLeast = kFull / 10;  // compute gets on at a tenth at least

// An exchange or a message under way.
struct Activity {
  SimTime work = 0, left = 0, since = 0, began = 0, end = 0;
  std::int32_t rate = kFull;
  std::uint32_t version = 0;
  std::int32_t player = 0;             // the first member
  std::int32_t kind = -1, group = -1;  // -1: of one player
  Lane lane = Lane::network;
  const SimOp* op = nullptr;
  std::int32_t held = 0;  // members whose network stream is busy, where this one stands aside
  bool active = false;
};

class Activities {
 public:
  std::int32_t make() {
    if (free_.empty()) free_.push_back(static_cast<std::int32_t>(all_.size()));
    if (at(free_.back()) == all_.size()) all_.emplace_back();
    const std::int32_t id = free_.back();
    free_.pop_back();
    return id;
  }
  void release(std::int32_t id) { free_.push_back(id); }
  Activity& operator[](std::int32_t id) { return all_[at(id)]; }

 private:
  std::vector<Activity> all_;
  std::vector<std::int32_t> free_;
};

struct Player {
  std::array<std::int32_t, kLanes> next{};  // operation to begin
  std::array<std::int32_t, kCountedLanes> ended{};
  std::array<std::int8_t, kLanes> meeting{};  // groups of the operation that have met, while it waits
  std::array<bool, kLanes> busy{};
  std::array<SimTime, kLanes> wakes{};  // when it has been told to look again
  std::array<std::int32_t, kChannels> arrived{};
  SimTime host = 0;  // when the segment began
  std::int32_t segment = 0;
  // Compute under way.
  SimTime left = 0, since = 0, began = 0, free = 0;
  std::int32_t rate = kFull, lost = 0;
  std::uint32_t version = 0;
  bool computing = false;
  std::int32_t flight = -1, aside = -1;  // exchanges on these lanes
};

// Of a normal distribution, by its name alone: the same whoever asks first.
inline double normal(std::uint64_t seed, std::uint64_t player, std::uint64_t op) {
  const auto mixed = [](std::uint64_t x) {  // SplitMix64
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  };
  const std::uint64_t one = mixed(seed ^ mixed(player ^ mixed(op))), other = mixed(one);
  const auto uniform = [](std::uint64_t x) {
    return (static_cast<double>(x >> 11) + 0.5) / 9007199254740992.0;
  };
  return std::sqrt(-2 * std::log(uniform(one))) * std::cos(2 * M_PI * uniform(other));
}

inline SimTime work_alone(const RunInput& in, const SimOp& op, std::int32_t player) {
  return in.work ? in.work(op, player) : op.work;
}

// Of a player's nth computation: slower by its own factor, and by chance.
inline SimTime work_of_rank(const RunInput& in, std::size_t player, const SimOp& op, std::int32_t n) {
  double factor = in.slow.empty() ? 1 : in.slow[player];
  if (in.jitter > 0) {
    const auto rank = static_cast<std::uint64_t>(in.players->rank[player].value());
    factor *= std::max(0.0, 1 + in.jitter * normal(in.seed, rank, static_cast<std::uint64_t>(n)));
  }
  const SimTime work = work_alone(in, op, static_cast<std::int32_t>(player));
  return factor == 1 ? work : static_cast<SimTime>(std::llround(factor * static_cast<double>(work)));
}

// Of an exchange of `left`, what a product that yields part of `work` does not let through.
inline SimTime over_of(SimTime left, const SimOp& product, SimTime work) {
  return std::max<SimTime>(0, left - work_in(work, product.yields));
}

}  // namespace tw
