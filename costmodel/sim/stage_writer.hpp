// Writes the lists of one stage (code.hpp). Private to costmodel/sim.
#pragma once

#include <algorithm>
#include <map>
#include <optional>

#include "costmodel/program/view.hpp"
#include "costmodel/sim/code.hpp"
#include "topology/check.hpp"

namespace tw {

// What must have happened: counts per lane, and messages of one channel.
struct Need {
  std::array<std::int32_t, kCountedLanes> ended{};
  std::int8_t channel = -1;
  std::int32_t arrivals = 0;

  void add(const Need& other) {
    for (std::size_t i = 0; i < ended.size(); ++i) ended[i] = std::max(ended[i], other.ended[i]);
    if (other.channel < 0) return;
    TW_CHECK(channel < 0 || channel == other.channel);
    channel = other.channel, arrivals = std::max(arrivals, other.arrivals);
  }
  std::int32_t& operator[](Lane lane) { return ended[static_cast<std::size_t>(lane)]; }
  std::int32_t operator[](Lane lane) const { return ended[static_cast<std::size_t>(lane)]; }
};

inline std::int32_t parts(double share) {
  return static_cast<std::int32_t>(std::llround(share * static_cast<double>(kFull)));
}

// Channels of every stage, which sender and receiver agree on before either is written.
class Channels {
 public:
  explicit Channels(const Program& program) : known_(static_cast<std::size_t>(program.stages())) {
    for (std::int32_t stage = 0; stage < program.stages(); ++stage) {
      for (const Step& step : program.steps(stage)) {
        if (step.action == Action::receive) (void)id(stage, step.peer, step.backward);
      }
    }
  }
  std::int8_t id(std::int32_t at, std::int32_t from, bool backward) {
    auto& known = known_[static_cast<std::size_t>(at)];
    const std::pair<std::int32_t, bool> key{from, backward};
    const auto found = std::find(known.begin(), known.end(), key);
    if (found != known.end()) return static_cast<std::int8_t>(found - known.begin());
    TW_CHECK(known.size() < kChannels);
    known.push_back(key);
    return static_cast<std::int8_t>(known.size() - 1);
  }
  const std::vector<std::pair<std::int32_t, bool>>& of(std::int32_t stage) const {
    return known_[static_cast<std::size_t>(stage)];
  }

 private:
  std::vector<std::vector<std::pair<std::int32_t, bool>>> known_;
};

class StageWriter {
 public:
  StageWriter(const CodeInput& input, std::int32_t stage, Channels& channels)
      : in_(input),
        program_(*input.program),
        prices_(*input.prices),
        stage_(stage),
        units_(program_.units(stage)),
        steps_(program_.steps(stage)),
        channels_(channels),
        state_(state_of(program_.input().profile, program_.input().layout.zero)),
        framework_(input.rules == SimRules::framework),
        gathered_(units_.size()),
        gathers_(units_.size()) {
    if (!framework_) places_.emplace(places_of(program_, stage)), made_.resize(places_->size());
  }

  StageCode run() {
    for (std::size_t i = 0; i < steps_.size();) {
      const std::size_t end = slot_end(i);
      if (steps_[i].slot < 0)
        for (; i < end; ++i) finish(steps_[i]);
      else if (framework_)
        slot(i, end);
      else
        for (Flow flow; i < end; ++i) emit(steps_[i], flow);
      i = end;
    }
    if (framework_) after_step();
    const auto& known = channels_.of(stage_);
    code_.channels = static_cast<std::int32_t>(known.size());
    for (std::size_t i = 0; i < known.size(); ++i) code_.from[i] = known[i].first;
    return std::move(code_);
  }

 private:
  // One pass of one micro-batch through a chunk.
  struct Flow {
    Need input;              // of the next unit: a message, or the output of the unit before
    Need output;             // of the unit under way
    std::int32_t unit = -1;  // that is under way
    bool backward = false;
    std::vector<Need> done;  // of the operations of its list
    bool first = true;       // nothing of the slot has been computed
    bool stood = false;      // still with its neighbour
    std::int32_t gathers = 0;
    std::int32_t written = 0;  // steps before this one are: some are written together
  };

  std::int32_t count(Lane lane) const {
    return static_cast<std::int32_t>(code_.lanes[static_cast<std::size_t>(lane)].size());
  }
  Need all_of(Lane lane) const {
    Need out;
    out[lane] = count(lane);
    return out;
  }
  Need everything() const {
    Need out;
    for (int i = 0; i < kCountedLanes; ++i) out[static_cast<Lane>(i)] = count(static_cast<Lane>(i));
    return out;
  }
  std::size_t slot_end(std::size_t begin) const {
    std::size_t end = begin;
    while (end < steps_.size() && steps_[end].slot == steps_[begin].slot) ++end;
    return end;
  }
  std::int32_t index(const Step& step) const { return static_cast<std::int32_t>(&step - steps_.data()); }

  // Appends to a lane; returns what waits for it.
  Need push(Lane lane, SimOp op, const Need& need) {
    op.need = need.ended, op.channel = need.channel, op.arrivals = need.arrivals;
    if (op.segment >= 0) op.issue = host_, op.segment = segment_;
    if (op.step >= 0 && in_.carried) {
      const Step& step = steps_[static_cast<std::size_t>(op.step)];
      std::vector<Cargo> cargo;
      for (const std::int8_t kind : op.groups) cargo.push_back(in_.carried(step, stage_, kind));
      if (op.to >= 0) cargo.push_back(in_.carried(step, stage_, -1));
      for (Cargo& each : cargo) each.bytes /= op.pieces;
      if (!cargo.empty()) op.cargo = &*code_.cargo.insert(std::move(cargo)).first;
    }
    estimate(lane, op);
    code_.lanes[static_cast<std::size_t>(lane)].push_back(op);
    return lane < Lane::forward_out ? all_of(lane) : Need{};
  }

  // Where the operation would begin and end if nothing came from outside: what weaving goes by.
  SimTime would_begin(Lane lane, const Need& need) const {
    SimTime at = free_[static_cast<std::size_t>(lane)];
    for (std::size_t i = 0; i < need.ended.size(); ++i) {
      if (need.ended[i] > 0) at = std::max(at, ends_[i][static_cast<std::size_t>(need.ended[i]) - 1]);
    }
    return at;
  }
  void estimate(Lane lane, const SimOp& op) {
    if (lane >= Lane::forward_out) return;  // nothing of this stage waits for what it sends
    const auto l = static_cast<std::size_t>(lane);
    Need need;
    need.ended = op.need;
    const SimTime end = would_begin(lane, need) + op.work;
    free_[l] = end;
    ends_[l].push_back(end);
  }

  // --- the framework's rules: code_framework.cpp ---

  void slot(std::size_t begin, std::size_t end);
  void weave(std::size_t begin, std::size_t middle, std::size_t end, Flow& one, Flow& other);
  SimTime begins(const Step& step, const Flow& flow) const;
  static Lane lane_of(const PricedOp& op);
  const OpList& list_of(const Step& step) const;
  bool enters(const Step& step, const Flow& flow) const;
  Need needs(const Step& step, const PricedOp& op, const Flow& flow) const;
  void emit(const Step& step, Flow& flow);
  void framework_op(const Step& step, Flow& flow);
  void enter(const Step& step, Flow& flow);
  Need write_op(const Step& step, const PricedOp& priced, const Need& need, Flow& flow,
                std::int32_t piece = 0, std::int32_t pieces = 1);
  void ended(const Step& step, const Need& done, Flow& flow) const;
  // --- routed tokens in pieces: code_pieces.cpp ---
  std::size_t routed_end(const Step& step) const;
  void in_pieces(const Step& step, std::size_t end, Flow& flow);
  std::int32_t loss_of(const PricedOp& op, const Step& step);
  void end_unit(Flow& flow, bool weights = false);
  void stand(Flow& flow);
  void end_slot(Flow& flow, const Step& step);
  const Slot& slot_of(const Step& step);
  void receive(const Step& step, Flow& flow);
  void send(const Step& step, Flow& flow);
  SimOp state_op(const Step& step, Term term);
  void gather(const Step& step, Flow& flow);
  bool is_backward(const Step& step);
  void reduce(const Step& step);
  bool reduced_early(const Step& step);

  // --- the trainer's rules ---

  void trainer_op(const Step& step) {
    const Op& list_op = op_of(step, units_);
    const Operands& operands = operands_of(step, units_);
    Need need;
    const std::size_t unit = static_cast<std::size_t>(step.unit);
    std::vector<Need>& done = done_[{step.unit, step.microbatch, step.backward}];
    done.resize(list_of(step).size());
    for (const std::int16_t before : list_op.after) {
      if (before >= 0) need.add(done[static_cast<std::size_t>(before)]);
    }
    for (const std::int16_t value : operands.reads) {
      if (value >= 0)
        need.add(made_[static_cast<std::size_t>(places_->at(step.unit, step.microbatch, value))]);
    }
    const bool tied = operands.what == Operator::linear && operands.weight < 0;
    need.add(gathered_[tied ? static_cast<std::size_t>(program_.tied_unit(stage_)) : unit]);
    SimOp op{.work = ticks(prices_.of(step, stage_).seconds), .step = index(step), .term = list_op.term};
    op.listed = true, op.groups = in_.groups(step, stage_);
    const Need own = push(static_cast<Lane>(list_op.stream), op, need);
    done[static_cast<std::size_t>(step.op)] = own;
    for (const std::int16_t value : operands.writes)
      made_[static_cast<std::size_t>(places_->at(step.unit, step.microbatch, value))] = own;
  }

  // --- after all slots ---

  void finish(const Step& step) {
    const bool last = step.action == Action::clip || step.action == Action::update;
    const Term term = last ? Term::optimizer : Term::reduce;
    SimOp op = state_op(step, term);
    if (last) {
      (void)push(Lane::compute, op, everything());
    } else {
      (void)push(Lane::state, op, all_of(Lane::compute));
    }
  }
  void after_step() {
    if (prices_.per_step <= 0) return;
    SimOp op{.work = ticks(prices_.per_step), .term = Term::host};
    (void)push(Lane::compute, op, everything());
  }

  const CodeInput& in_;
  const Program& program_;
  const SimPrices& prices_;
  std::int32_t stage_;
  std::span<const Unit> units_;
  std::span<const Step> steps_;
  Channels& channels_;
  const StateMechanisms& state_;
  bool framework_;
  std::vector<Need> gathered_;                    // by unit: its parameters are whole
  std::vector<std::int32_t> gathers_;             // by unit, so far
  std::map<std::int32_t, std::int64_t> reduces_;  // by unit, so far
  std::array<std::int32_t, kChannels> received_{};
  StageCode code_;

  SimTime host_ = 0;  // since the host last waited for the device
  std::int32_t segment_ = 0;
  Need handed_over_;          // what the first computation of the next slot waits for
  Need blocked_;              // what all computation waits for
  Need slot_began_, beside_;  // exchanges under the compute of a slot
  std::map<const OpList*, double> losses_;
  std::vector<Slot> slots_;
  std::array<SimTime, kCountedLanes> free_{};
  std::array<std::vector<SimTime>, kCountedLanes> ends_;

  std::optional<Places> places_;
  std::vector<Need> made_;  // by place
  std::map<std::tuple<std::int32_t, std::int32_t, bool>, std::vector<Need>> done_;
};

}  // namespace tw
