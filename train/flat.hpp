// The weights of a unit as flat arrays, one per scope: the local weights in list order, padded so that
// the ranks that share their states have equal pieces. Says which global element each one is, who else
// holds it, and which rank counts it.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "train/view.hpp"

namespace tw::train {

struct FlatWeight {
  const Weight* weight = nullptr;
  WeightPart part;
  std::int64_t offset = 0;  // in the flat array of its scope
  std::string name;
  std::uint64_t id = 0;  // the same on every rank and stage
};

// Neighbouring elements: a local row of a weight.
struct Run {
  std::int64_t local = 0;   // first element, in the flat array
  std::int64_t global = 0;  // first element, in the whole weight
  std::int64_t count = 0;
  bool owned = false;                          // this rank is the one of its cut group that counts it
  std::size_t sharers_first = 0, sharers = 1;  // members of the cut group whose gradients of it are partial
};

struct FlatScope {
  std::vector<FlatWeight> weights;
  std::int64_t elements = 0, padded = 0, piece = 0, first = 0;  // this rank's piece: [first, first + piece)
  std::vector<Rank> shards, replicas, cuts;
  bool counts = false;                 // this rank is the one of its replicas that counts
  bool shared = false;                 // some weight has sharers
  std::vector<std::vector<Run>> runs;  // of each weight
};

struct FlatUnit {
  std::array<FlatScope, 2> scopes;
  const FlatWeight& weight(std::size_t index) const {
    const auto [scope, at] = where[index];
    return scopes[scope].weights[at];
  }
  std::vector<std::pair<std::size_t, std::size_t>> where;  // of each weight: scope, place there
};

FlatUnit flatten(const View& view, const Unit& unit);

// Runs of a weight as far as this rank's piece of the scope holds them; local counts from the piece's start.
using VisitRun = std::function<void(const Run&, std::int64_t local, std::int64_t global, std::int64_t count)>;
void visit_piece(const FlatScope& scope, std::size_t weight, const VisitRun& visit);
bool begins_at_one(const FlatWeight& weight);  // a norm; all others begin at random

// Every weight of the model once, in model order, with the size of the whole.
struct NamedWeight {
  std::string name;
  std::uint64_t id = 0;
  std::int64_t elements = 0;
};
std::vector<NamedWeight> named_weights(const Program& program);

}  // namespace tw::train
