#include "costmodel/sim/division.hpp"

#include <algorithm>
#include <numeric>

#include "topology/check.hpp"

namespace tw {
namespace {

std::size_t at(std::int32_t index) {
  return static_cast<std::size_t>(index);
}

// Disjoint sets of players, each known by its first.
class Sets {
 public:
  explicit Sets(std::size_t count) : first_(count) { std::iota(first_.begin(), first_.end(), 0); }
  std::int32_t of(std::int32_t player) {
    while (first_[at(player)] != player) player = first_[at(player)] = first_[at(first_[at(player)])];
    return player;
  }
  void join(std::int32_t one, std::int32_t other) {
    const std::int32_t a = of(one), b = of(other);
    first_[at(std::max(a, b))] = std::min(a, b);
  }

 private:
  std::vector<std::int32_t> first_;
};

Sets together(const Players& players, const std::vector<SimGroupKind>& kinds) {
  Sets out(players.size());
  for (std::size_t p = 0; p < players.size(); ++p) {
    for (const std::int32_t peer : players.peer[p])
      if (peer >= 0) out.join(static_cast<std::int32_t>(p), peer);
  }
  for (std::size_t k = 0; k < kinds.size(); ++k) {
    if (kinds[k].why != Meeting::operation && kinds[k].why != Meeting::copies) continue;
    const PlayedKind& kind = players.kinds[k];
    for (std::size_t g = 0; g + 1 < kind.first.size(); ++g) {
      const auto members = kind.at(static_cast<std::int32_t>(g));
      for (const std::int32_t member : members) out.join(members.front(), member);
    }
  }
  return out;
}

}  // namespace

std::vector<std::int32_t> Division::parts_of(const PlayedKind& kind, std::int32_t group) const {
  std::vector<std::int32_t> out;
  for (const std::int32_t member : kind.at(group)) out.push_back(part[at(member)]);
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

Division divided(const Players& players, const std::vector<SimGroupKind>& kinds, std::int32_t processes) {
  Sets sets = together(players, kinds);
  std::vector<std::int64_t> size(players.size(), 0);
  for (std::size_t p = 0; p < players.size(); ++p) ++size[at(sets.of(static_cast<std::int32_t>(p)))];
  Division out;
  out.part.assign(players.size(), 0);
  std::int64_t before = 0;
  for (std::size_t p = 0; p < players.size(); ++p) {
    const std::int32_t first = sets.of(static_cast<std::int32_t>(p));
    if (at(first) != p) {
      out.part[p] = out.part[at(first)];
      continue;
    }
    const auto all = static_cast<std::int64_t>(players.size());
    out.part[p] = static_cast<std::int32_t>((2 * before + size[p]) * processes / (2 * all));
    before += size[p];
  }
  return out;
}

Players players_of_part(const Players& players, const Division& division, std::int32_t self) {
  Players out = players;
  for (PlayedKind& kind : out.kinds) {
    PlayedKind own;
    own.of_player = kind.of_player, own.group = kind.group, own.first = {0};
    for (std::size_t g = 0; g + 1 < kind.first.size(); ++g) {
      for (const std::int32_t member : kind.at(static_cast<std::int32_t>(g)))
        if (division.part[at(member)] == self) own.members.push_back(member);
      own.first.push_back(static_cast<std::int32_t>(own.members.size()));
    }
    kind = std::move(own);
  }
  return out;
}

SimPeers::Words words_of(const RunResult& result, const Division& division, std::int32_t self) {
  SimPeers::Words out = {result.events, result.operations, result.program_operations};
  const std::size_t count_at = out.size();
  out.push_back(0);
  for (std::size_t p = 0; p < result.players.size(); ++p) {
    if (division.part[p] != self) continue;
    ++out[count_at];
    out.push_back(static_cast<std::int64_t>(p));
    out.push_back(result.players[p].end);
    out.insert(out.end(), result.players[p].terms.begin(), result.players[p].terms.end());
  }
  for (const SimSlice& each : result.timeline)
    out.insert(out.end(), {each.player, static_cast<std::int64_t>(each.lane), each.op, each.begin, each.end});
  return out;
}

void add_words(RunResult& result, const SimPeers::Words& words) {
  result.events += words[0], result.operations += words[1], result.program_operations += words[2];
  std::size_t i = 4;
  for (std::int64_t n = words[3]; n > 0; --n) {
    PlayerTimes& player = result.players[static_cast<std::size_t>(words[i++])];
    player.end = words[i++];
    for (SimTime& term : player.terms) term = words[i++];
    result.end = std::max(result.end, player.end);
  }
  for (; i < words.size(); i += 5)
    result.timeline.push_back({static_cast<std::int32_t>(words[i]), static_cast<Lane>(words[i + 1]),
                               static_cast<std::int32_t>(words[i + 2]), words[i + 3], words[i + 4]});
}

}  // namespace tw
