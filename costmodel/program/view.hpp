// A rank's view of a Program: what each step says to other ranks, and where its values stand. Verify,
// the footprint and the virtual backend read the same view. Groups come from the rank grid alone.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "costmodel/program/program.hpp"

namespace tw {

// One thing that a step does with other ranks. A collective of one rank is none.
struct Exchange {
  enum class Kind : std::uint8_t {
    send,
    receive,
    all_reduce,
    all_gather,
    reduce_scatter,
    all_to_all,
    ring
  } kind = Kind::send;
  std::int32_t group = -1;  // of Groups
  Rank peer;                // of a send or a receive
  std::int64_t bytes = 0;   // what one rank puts in; of routed rows what it puts in if experts are alike
  friend bool operator==(const Exchange&, const Exchange&) = default;
};
std::string_view name_of(Exchange::Kind kind);
using Exchanges = SmallList<Exchange, 6>;

// Each set of ranks once.
class Groups {
 public:
  std::int32_t id_of(const std::vector<Rank>& ranks);
  const std::vector<Rank>& at(std::int32_t id) const { return lists_[static_cast<std::size_t>(id)]; }
  std::size_t size() const { return lists_.size(); }

 private:
  std::map<std::vector<Rank>, std::int32_t> ids_;
  std::vector<std::vector<Rank>> lists_;
};

// Where the values of a stage stand, one place for each micro-batch: what a unit hands to its neighbour
// in the chunk is the neighbour's input, the same place.
class Places {
 public:
  Places(std::span<const Unit> units, std::int64_t microbatches, std::int32_t weight_copies);

  std::size_t size() const { return bytes_.size(); }
  // -1 where the operator reads nothing there.
  std::int64_t at(std::int32_t unit, std::int32_t microbatch, std::int16_t value) const;
  std::int64_t boundary(const Step& step) const;  // of a send or a receive
  std::int64_t bytes(std::int64_t place) const { return bytes_[static_cast<std::size_t>(place)]; }
  std::string name(std::int64_t place) const;  // "qkv of layer 3, micro-batch 0"
  std::int32_t unit_of(std::int64_t place) const;
  std::int32_t microbatch_of(std::int64_t place) const;
  std::int32_t copy_of(std::int32_t microbatch) const {
    return weight_copies_ == 2 && microbatch >= microbatches_ / 2 ? 1 : 0;
  }
  std::int64_t microbatches() const { return microbatches_; }
  std::int32_t weight_copies() const { return weight_copies_; }

 private:
  const LayerOperands& operands(std::int32_t unit) const {
    return units_[static_cast<std::size_t>(unit)].work->operands;
  }
  std::span<const Unit> units_;
  std::int64_t microbatches_;
  std::int32_t weight_copies_;
  std::vector<std::int32_t> before_, after_;  // neighbour in the chunk, -1: none
  std::vector<std::int64_t> first_;           // place of each unit's first value
  std::vector<std::int64_t> bytes_;
};
Places places_of(const Program& program, std::int32_t stage);

// What an op reads and writes of its unit.
const Operands& operands_of(const Step& step, std::span<const Unit> units);
const Op& op_of(const Step& step, std::span<const Unit> units);
// A weight of the step's unit, or the table of a tied head, gets a gradient; is read.
bool writes_weight_gradient(const Operands& operands, Unit::Kind kind);
bool reads_weight(const Operands& operands, Unit::Kind kind);
// The fused loss writes the gradient over the logits: what the op frees is free before it writes.
bool writes_over(const Operands& operands);

class RankView {
 public:
  RankView(const Program& program, Rank rank, const Places& places, Groups& groups);
  Exchanges exchanges(const Step& step);

 private:
  void add(Exchanges& out, Exchange::Kind kind, const std::vector<Rank>& ranks, std::int64_t bytes);
  void add_keyed(Exchanges& out, Exchange::Kind kind, GroupKey key, std::int64_t bytes);
  void add_op(Exchanges& out, const Step& step);
  void add_state(Exchanges& out, const Step& step);
  void add_shared(Exchanges& out, const Unit& unit);

  const Program& program_;
  Rank rank_;
  std::int32_t stage_;
  const Places& places_;
  Groups& groups_;
  std::vector<std::pair<GroupKey, std::int32_t>> known_;
};

// Elements of weights on one rank, by scope.
struct LocalElements {
  std::int64_t attention = 0, expert = 0;
};
LocalElements local_elements(const LayerWork& work);

// All ranks' steps with their exchanges, as plain data that a test can break.
struct RankStep {
  Step step;
  Exchanges exchanges;
};
struct RankSteps {
  std::int32_t stage = 0;
  std::vector<RankStep> steps;
};
struct StageFacts {
  std::vector<Unit> units;
  std::vector<bool> copied, shared;  // per unit: it needs sum_copies, sum_shared
  std::int32_t tied_unit = -1;
};
struct ProgramSteps {
  std::int64_t microbatches = 1;
  std::int32_t weight_copies = 1;
  bool gathers_once = false, gathers_always = false;  // zero 1 and 2; zero 3
  bool reduces_every = false;                         // micro-batch
  Groups groups;
  std::vector<StageFacts> stages;
  std::vector<RankSteps> ranks;
};
ProgramSteps steps_of(const Program& program);

}  // namespace tw
