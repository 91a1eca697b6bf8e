// A step as everyone runs it: the op lists that the cost prices x the slots of the schedule, with the
// traffic of states around them. Op lists are stored once per kind of layer and steps once per stage; a
// rank is a view (its stage, its groups, its part of every weight). Nothing holds ranks x ops.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "costmodel/layout/rank_grid.hpp"
#include "costmodel/program/work.hpp"
#include "costmodel/schedules/schedule.hpp"

namespace tw {

// Weights that are gathered, reduced and updated together.
struct Unit {
  enum class Kind : std::uint8_t { embedding, layer, head, mtp_entry } kind = Kind::layer;
  std::int32_t layer = 0;  // in model order, of a layer
  std::int32_t chunk = 0;
  std::int32_t copy = 0;    // of the chunk: DualPipe holds each twice
  bool table_only = false;  // a second table for a head whose weights are tied to another stage's embedding
  const LayerWork* work = nullptr;
  std::int32_t module = -1;  // of multi-token prediction; its head reads the weights of the first head
  friend bool operator==(const Unit&, const Unit&) = default;
};
std::string to_string(const Unit& unit);

enum class Action : std::uint8_t {
  receive,  // a boundary value from `peer`: activations forward, their gradient backward
  send,
  gather,      // the unit's parameters become whole on this rank
  release,     // and are dropped
  op,          // one operation of the unit's list
  reduce,      // the unit's gradients: summed over the ranks that hold the same weights
  sum_shared,  // of weights that several ranks of a cut hold alike, over those ranks
  sum_copies,  // of units that stand on several stages, over those stages
  clip,        // the norm of all gradients, over all ranks
  update       // the optimizer on this rank's part of a unit
};
std::string_view name_of(Action action);

struct Step {
  Action action = Action::op;
  std::int32_t unit = -1;  // of the stage's units; -1: clip, send, receive
  std::int32_t microbatch = 0;
  std::int32_t chunk = 0;
  bool backward = false;   // op: of which list; send, receive: a gradient
  std::int16_t op = -1;    // index in that list
  std::int32_t peer = -1;  // stage, of a send or a receive
  std::int32_t slot = -1;  // of the schedule's slots of the stage; -1: after all of them
  // Of an op: values that nothing reads any more, as a range of the unit's free lists.
  std::span<const std::int16_t> frees = {};
};

// One axis of what a rank holds of an array: `count` elements of the whole from `first` on lie at
// `local` and after; `room` local places belong to the block (padding beyond count).
struct Extent {
  std::int64_t first = 0, count = 0, local = 0, room = 0;
};
// A rank's part of a weight: [groups, rows, columns], rows in blocks.
struct WeightPart {
  std::int64_t groups = 1, rows = 0, columns = 0;  // of the whole array
  Extent group;
  SmallList<Extent, 3> row;
  Extent column;
  std::int64_t local_rows() const;
  std::int64_t local_elements() const;
};

// Token of a micro-batch that a row stands for.
struct RowTag {
  std::int32_t sequence = 0, position = 0;
};

struct ProgramInput {
  Model model;
  Profile profile;
  Layout layout;
  Job job;  // job.model is set by the Program
  Routing routing = {};
  // Also what each op reads and writes, which not every mechanism says; without it the lists are those of the
  // price, op by op, and nothing is freed.
  bool operands = true;
};

class Program {
 public:
  // InputError where the layout is not legal.
  explicit Program(ProgramInput input);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  const ProgramInput& input() const { return input_; }
  const RankGrid& grid() const { return grid_; }
  std::int64_t microbatches() const { return microbatches_; }
  std::int32_t stages() const { return input_.layout.pp; }
  std::int32_t stage_of(Rank rank) const { return grid_.coordinate(rank, Dim::pp); }

  std::span<const Unit> units(std::int32_t stage) const;
  std::span<const Step> steps(std::int32_t stage) const;
  // The unit whose table the head of a stage reads where weights are tied; -1: its own.
  std::int32_t tied_unit(std::int32_t stage) const;
  // A layer that full:N leaves alone.
  bool is_plain(const Unit& unit) const {
    return !plain_.empty() && unit.work >= plain_.data() && unit.work < plain_.data() + plain_.size();
  }
  // Stages and units that hold the same weights as this one, itself included, in a fixed order.
  struct Copy {
    std::int32_t stage = 0, unit = 0;
    friend bool operator==(const Copy&, const Copy&) = default;
  };
  std::vector<Copy> copies(std::int32_t stage, std::int32_t unit) const;

  // Of one rank.
  std::vector<Rank> group(Rank rank, GroupKey key) const { return grid_.group_of(rank, key); }
  std::vector<Rank> shard_group(Rank rank, Scope scope) const;    // over which states are cut
  std::vector<Rank> replica_group(Rank rank, Scope scope) const;  // over which they repeat
  std::vector<Rank> cut_group(Rank rank, Scope scope) const;  // over which weights are cut by rows or columns
  Rank peer(Rank rank, std::int32_t stage) const;             // same coordinates, other stage
  WeightPart part(Rank rank, const Weight& weight) const;
  std::vector<RowTag> tags(Rank rank) const;  // of the rows of a micro-batch before a cut of rows
  std::int64_t first_sequence(Rank rank, std::int64_t microbatch) const;  // of the global batch

  // When states are cut and moved.
  bool cuts_optimizer() const { return input_.layout.zero >= 1; }
  bool cuts_gradients() const;
  bool cuts_parameters() const { return input_.layout.zero >= 3; }

 private:
  friend class ProgramWriter;
  struct Stage {
    std::vector<Unit> units;
    std::vector<Step> steps;
  };
  ProgramInput input_;
  RankGrid grid_;
  std::int64_t microbatches_ = 0;
  std::vector<LayerWork> kinds_, plain_;  // by Model::kinds; plain: layers that full:N leaves alone
  LayerWork embedding_, head_, mtp_entry_;
  std::vector<std::vector<std::int16_t>> frees_;  // storage of Step::frees
  std::vector<Stage> stages_;
};

void write_program(Program& program);  // fills units and steps; for the constructor

// Of one list of steps: which values each op frees, given that weight halves may run later. Values in
// `until_end` are freed by nobody (what the next unit reads).
struct Frees {
  std::vector<std::vector<std::int16_t>> forward, backward, input, weight;  // per op of the lists
};
Frees frees_of(const LayerWork& work);

std::string to_string(const Step& step, std::span<const Unit> units);

}  // namespace tw
