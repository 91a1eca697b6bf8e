#include "costmodel/sim/fold.hpp"

#include <algorithm>
#include <map>
#include <numeric>

namespace tw {
namespace {

using Colours = std::vector<std::int32_t>;

std::size_t at(Rank rank) {
  return static_cast<std::size_t>(rank.value());
}

// Numbers from 0 in the order of first appearance.
template <class Key>
Colours numbered(const std::vector<Key>& keys) {
  std::map<Key, std::int32_t> known;
  Colours out;
  for (const Key& key : keys) {
    const auto next = static_cast<std::int32_t>(known.size());
    out.push_back(known.try_emplace(key, next).first->second);
  }
  return out;
}

std::int32_t most(const Colours& colours) {
  return *std::max_element(colours.begin(), colours.end());
}

class Refinement {
 public:
  Refinement(const Program& program, const SimGroups& groups, const Neighbours& neighbours)
      : program_(program), groups_(groups), neighbours_(neighbours) {}

  Colours run(Colours colours) {
    for (;;) {
      const Colours finer = refined(colours);
      if (most(finer) == most(colours)) return finer;
      colours = finer;
    }
  }

 private:
  // What a group is made of, as one number per make.
  Colours makes(const std::vector<std::span<const Rank>>& groups, const Colours& colours) const {
    std::vector<Colours> keys;
    for (const std::span<const Rank> group : groups) {
      Colours& key = keys.emplace_back();
      for (const Rank rank : group) key.push_back(colours[at(rank)]);
      std::sort(key.begin(), key.end());
    }
    return numbered(keys);
  }
  Colours refined(const Colours& colours) const {
    const std::size_t ranks = colours.size();
    std::vector<Colours> keys(ranks);
    for (std::size_t r = 0; r < ranks; ++r) keys[r].push_back(colours[r]);
    for (const SimGroupKind& kind : groups_.kinds()) {
      std::vector<std::span<const Rank>> list;
      for (std::size_t g = 0; g < kind.count(); ++g) list.push_back(kind.at(static_cast<std::int32_t>(g)));
      const Colours make = makes(list, colours);
      for (std::size_t r = 0; r < ranks; ++r) {
        const std::int32_t group = kind.of_rank[r];
        keys[r].push_back(group < 0 ? -1 : make[static_cast<std::size_t>(group)]);
      }
    }
    const std::vector<std::span<const Rank>> list(neighbours_.begin(), neighbours_.end());
    const Colours make = makes(list, colours);
    for (std::size_t n = 0; n < list.size(); ++n) {
      for (const Rank rank : list[n]) keys[at(rank)].push_back(make[n]);
    }
    for (std::size_t r = 0; r < ranks && program_.stages() > 1; ++r) {
      for (std::int32_t stage = 0; stage < program_.stages(); ++stage)
        keys[r].push_back(colours[at(program_.peer(Rank(static_cast<std::int32_t>(r)), stage))]);
    }
    return numbered(keys);
  }

  const Program& program_;
  const SimGroups& groups_;
  const Neighbours& neighbours_;
};

// Groups whose players are the same are played once.
PlayedKind played(const SimGroupKind& kind, const Players& players) {
  PlayedKind out;
  out.of_player.assign(players.size(), -1);
  out.first.push_back(0);
  std::map<std::vector<std::int32_t>, std::int32_t> known;
  for (std::size_t p = 0; p < players.size(); ++p) {
    const std::int32_t group = kind.of_rank[at(players.rank[p])];
    if (group < 0) continue;
    std::vector<std::int32_t> members;
    for (const Rank rank : kind.at(group)) members.push_back(players.of_rank[at(rank)]);
    std::sort(members.begin(), members.end());
    members.erase(std::unique(members.begin(), members.end()), members.end());
    const auto next = static_cast<std::int32_t>(known.size());
    const auto [found, made] = known.try_emplace(members, next);
    out.of_player[p] = found->second;
    if (!made) continue;
    out.members.insert(out.members.end(), members.begin(), members.end());
    out.first.push_back(static_cast<std::int32_t>(out.members.size()));
    out.group.push_back(group);
  }
  return out;
}

}  // namespace

Players players_of(const Program& program, const SimGroups& groups, const std::vector<std::int64_t>& colours,
                   const Neighbours& neighbours, bool unfold) {
  const auto ranks = static_cast<std::size_t>(program.grid().ranks());
  Players out;
  out.of_rank.resize(ranks);
  if (unfold) {
    std::iota(out.of_rank.begin(), out.of_rank.end(), 0);
  } else {
    std::vector<std::pair<std::int32_t, std::int64_t>> keys(ranks);
    for (std::size_t r = 0; r < ranks; ++r) {
      keys[r] = {program.stage_of(Rank(static_cast<std::int32_t>(r))), colours.empty() ? 0 : colours[r]};
    }
    out.of_rank = Refinement(program, groups, neighbours).run(numbered(keys));
  }
  for (std::size_t r = 0; r < ranks; ++r) {
    const auto player = static_cast<std::size_t>(out.of_rank[r]);
    if (player < out.rank.size()) {
      ++out.stands_for[player];
      continue;
    }
    const Rank rank(static_cast<std::int32_t>(r));
    out.rank.push_back(rank), out.stage.push_back(program.stage_of(rank)), out.stands_for.push_back(1);
  }
  for (const Rank rank : out.rank) {
    std::vector<std::int32_t>& peers = out.peer.emplace_back();
    for (std::int32_t stage = 0; stage < program.stages(); ++stage)
      peers.push_back(program.stages() == 1 ? out.of_rank[at(rank)]
                                            : out.of_rank[at(program.peer(rank, stage))]);
  }
  for (const SimGroupKind& kind : groups.kinds()) out.kinds.push_back(played(kind, out));
  return out;
}

}  // namespace tw
