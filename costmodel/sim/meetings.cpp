#include "costmodel/sim/meetings.hpp"

#include <algorithm>

#include "topology/check.hpp"

namespace tw {
namespace {

std::size_t at(std::int32_t index) {
  return static_cast<std::size_t>(index);
}

}  // namespace

Meetings::Meetings(const Players& own, const Players& all, const Division* division, SimPeers* peers)
    : own_(own),
      all_(all),
      division_(division),
      peers_(peers),
      alone_(peers == nullptr || peers->count == 1) {
  for (const PlayedKind& kind : own.kinds) here_.emplace_back(kind.first.size() - 1, 0);
  if (alone_) return;
  const std::size_t n = at(peers->count);
  far_.assign(n, 0), had_.assign(n, std::vector<std::int64_t>(n, 0)), said_.resize(n);
  for (std::size_t k = 0; k < all.kinds.size(); ++k) {
    const PlayedKind& kind = all.kinds[k];
    for (std::int32_t g = 0; g + 1 < static_cast<std::int32_t>(kind.first.size()); ++g) {
      const auto parts = static_cast<std::int32_t>(division->parts_of(kind, g).size());
      if (parts > 1 && !own.kinds[k].at(g).empty())
        crossing_[{static_cast<std::int32_t>(k), g}].parts = parts;
    }
  }
}

bool Meetings::plays_first(std::int32_t kind, std::int32_t group) const {
  return division_->part[at(all_.kinds[at(kind)].at(group).front())] == peers_->self;
}

bool Meetings::told(std::int32_t kind, std::int32_t group, Lane lane, SimTime now, SimTime& work) {
  const auto found = crossing_.find({kind, group});
  if (found == crossing_.end()) return true;
  Crossing& crossing = found->second;
  const SimPeers::Words words = {
      static_cast<std::int64_t>(Says::came), now, kind, group, crossing.round, work};
  tell(words);
  crossing.waits = true, crossing.lane = lane, ++waiting_;
  read_came(peers_->self, words);
  if (crossing.waits || met_.back().at > now) return false;
  work = met_.back().work;
  met_.pop_back();
  return true;
}

void Meetings::read_came(std::int32_t from, const SimPeers::Words& words) {
  said_[at(from)].push_back(words[1]);
  const auto found =
      crossing_.find({static_cast<std::int32_t>(words[2]), static_cast<std::int32_t>(words[3])});
  if (found == crossing_.end()) return;
  Crossing& crossing = found->second;
  Round& round = crossing.rounds[words[4]];
  ++round.parts, round.at = std::max(round.at, words[1]), round.work = std::max(round.work, words[5]);
  if (round.parts < crossing.parts || words[4] != crossing.round) return;
  TW_CHECK(crossing.waits);
  met_.push_back({found->first.first, found->first.second, round.at, round.work, crossing.lane});
  crossing.rounds.erase(crossing.round++);
  crossing.waits = false, --waiting_;
}

void Meetings::tell(const SimPeers::Words& words) {
  for (std::int32_t to = 0; to < peers_->count; ++to)
    if (to != peers_->self) peers_->send(to, words);
}

void Meetings::tell_how_far(SimTime next) {
  SimPeers::Words words = {static_cast<std::int64_t>(Says::far), next};
  for (const auto& said : said_) words.push_back(static_cast<std::int64_t>(said.size()));
  if (words == last_) return;
  tell(words);
  last_ = std::move(words);
}

void Meetings::read(const SimPeers::Note& note) {
  switch (static_cast<Says>(note.words[0])) {
    case Says::came:
      return read_came(note.from, note.words);
    case Says::far:
      far_[at(note.from)] = note.words[1];
      had_[at(note.from)].assign(note.words.begin() + 2, note.words.end());
      return;
    case Says::found:
      found_.emplace_back(note.words.begin() + 1, note.words.end());
  }
}

// A process that has not read what another said may act on it, from then on.
SimTime Meetings::bound() const {
  SimTime out = kNever;
  for (std::size_t p = 0; p < far_.size(); ++p) {
    if (p == at(peers_->self) || far_[p] == kNever) continue;
    out = std::min(out, far_[p]);
    for (std::size_t q = 0; q < said_.size(); ++q) {
      const auto had = static_cast<std::size_t>(had_[p][q]);
      if (had < said_[q].size()) out = std::min(out, said_[q][had]);
    }
  }
  return out;
}

bool Meetings::concerns_nobody(SimTime next) {
  constexpr std::int32_t kOften = 256;  // events between two looks, while there is nothing to wait for
  if (waiting_ == 0) {
    if (++turns_ % kOften != 0) return true;
    while (auto note = peers_->receive(false)) read(*note);
    if (next != kNever) tell_how_far(next);
    return true;
  }
  if (next <= bound() && next != kNever) return true;
  while (auto note = peers_->receive(false)) read(*note);
  if (!met_.empty()) return false;
  if (next <= bound() && next != kNever) return true;
  tell_how_far(std::min(next, kNever - 1));  // kNever: it is done
  read(*peers_->receive(true));
  return false;
}

void Meetings::gather(RunResult& result) {
  if (alone_) return;
  tell_how_far(kNever);
  SimPeers::Words words = words_of(result, *division_, peers_->self);
  if (peers_->self > 0) {
    words.insert(words.begin(), static_cast<std::int64_t>(Says::found));
    return peers_->send(0, words);
  }
  while (found_.size() + 1 < at(peers_->count)) read(*peers_->receive(true));
  for (const SimPeers::Words& each : found_) add_words(result, each);
}

}  // namespace tw
