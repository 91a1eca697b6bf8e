// Players divided over processes. Those who exchange within the layers, or send to each other's stages, stay
// together; processes are joined by state traffic alone (gathers, reductions and the clipping of gradients).
#pragma once

#include <vector>

#include "costmodel/sim/fold.hpp"
#include "costmodel/sim/run.hpp"

namespace tw {

struct Division {
  std::vector<std::int32_t> part;  // process of each player
  std::vector<std::int32_t> parts_of(const PlayedKind& kind, std::int32_t group) const;  // rising
};

// Even blocks of players in their order; where fewer stay apart than there are processes, some play nobody.
Division divided(const Players& players, const std::vector<SimGroupKind>& kinds, std::int32_t processes);
// The same players, numbered alike, with the members alone that `self` plays.
Players players_of_part(const Players& players, const Division& division, std::int32_t self);

// What a process found, for the first one, which adds it to its own.
SimPeers::Words words_of(const RunResult& result, const Division& division, std::int32_t self);
void add_words(RunResult& result, const SimPeers::Words& words);

}  // namespace tw
