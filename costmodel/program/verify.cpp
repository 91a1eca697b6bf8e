#include "costmodel/program/verify.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace tw {
namespace {

bool same(const Step& a, const Step& b) {
  return a.action == b.action && a.unit == b.unit && a.microbatch == b.microbatch && a.chunk == b.chunk &&
         a.backward == b.backward && a.op == b.op && a.peer == b.peer &&
         std::equal(a.frees.begin(), a.frees.end(), b.frees.begin(), b.frees.end());
}

class RankCheck {
 public:
  RankCheck(const ProgramSteps& program, std::int32_t rank)
      : program_(program),
        rank_(rank),
        mine_(program.ranks[static_cast<std::size_t>(rank)]),
        facts_(program.stages[static_cast<std::size_t>(mine_.stage)]),
        places_(facts_.units, program.microbatches, program.weight_copies),
        values_(places_.size()),
        units_(facts_.units.size()),
        passes_(facts_.units.size() * static_cast<std::size_t>(program.microbatches)) {}

  std::vector<Finding> run() {
    for (at_ = 0; at_ < mine_.steps.size(); ++at_) {
      const Step& next = mine_.steps[at_].step;
      if (next.microbatch < 0 || next.microbatch >= program_.microbatches) {
        refuse("there is no micro-batch {}", next.microbatch);
        break;
      }
      step(next);
    }
    at_end();
    return std::move(findings_);
  }

 private:
  enum class State : std::uint8_t { unmade, alive, freed };
  struct Place {
    State state = State::unmade;
    std::int32_t step = -1;  // that changed it last
  };
  struct UnitState {
    bool gathered = false, pending = false;
    std::int32_t gathers = 0, reduces = 0, shared_sums = 0, copy_sums = 0, updates = 0;
  };
  struct PassState {  // how far the three lists of a unit have run
    std::int16_t forward = 0, input = 0, weight = 0;
  };

  template <class... Args>
  void refuse(std::size_t step, fmt::format_string<Args...> text, Args&&... args) {
    if (findings_.size() >= kMostFindings) return;
    const std::string words =
        step < mine_.steps.size() ? to_string(mine_.steps[step].step, facts_.units) : "end of the step";
    findings_.push_back({rank_, step, words, fmt::format(text, std::forward<Args>(args)...)});
  }
  template <class... Args>
  void refuse(fmt::format_string<Args...> text, Args&&... args) {
    refuse(at_, text, std::forward<Args>(args)...);
  }

  UnitState& unit(std::int32_t index) { return units_[static_cast<std::size_t>(index)]; }
  const Unit& unit_of(std::int32_t index) const { return facts_.units[static_cast<std::size_t>(index)]; }
  PassState& pass(std::int32_t index, std::int32_t microbatch) {
    return passes_[static_cast<std::size_t>(index) * static_cast<std::size_t>(program_.microbatches) +
                   static_cast<std::size_t>(microbatch)];
  }

  void step(const Step& step) {
    switch (step.action) {
      case Action::receive:
        return make(places_.boundary(step));
      case Action::send: {
        const std::int64_t place = places_.boundary(step);
        read(place);
        return free(place);
      }
      case Action::gather:
        return gather(step.unit);
      case Action::release:
        if (!unit(step.unit).gathered) refuse("releases parameters that are not gathered");
        unit(step.unit).gathered = false;
        return;
      case Action::op:
        return op(step);
      case Action::reduce:
        return reduce(step.unit);
      case Action::sum_shared:
        return sum(step.unit, unit(step.unit).shared_sums, "over the ranks of its cut");
      case Action::sum_copies:
        return sum(step.unit, unit(step.unit).copy_sums, "over the stages that hold it");
      case Action::clip:
        return clip();
      case Action::update:
        return update(step.unit);
    }
  }

  // Values.
  void make(std::int64_t place) {
    Place& at = values_[static_cast<std::size_t>(place)];
    if (at.state != State::unmade)
      refuse("makes {} a second time (first at step {})", places_.name(place), at.step);
    at = {State::alive, static_cast<std::int32_t>(at_)};
  }
  void read(std::int64_t place) {
    if (place < 0) return;
    const Place& at = values_[static_cast<std::size_t>(place)];
    if (at.state == State::unmade) refuse("reads {}, which nothing has made", places_.name(place));
    if (at.state == State::freed) refuse("reads {}, which step {} has freed", places_.name(place), at.step);
  }
  void free(std::int64_t place) {
    Place& at = values_[static_cast<std::size_t>(place)];
    if (at.state == State::freed) refuse("frees {} again (first at step {})", places_.name(place), at.step);
    if (at.state == State::unmade) refuse("frees {}, which nothing has made", places_.name(place));
    at = {State::freed, static_cast<std::int32_t>(at_)};
  }

  // Weights.
  void gather(std::int32_t index) {
    if (!program_.gathers_once && !program_.gathers_always) refuse("gathers parameters that are not cut");
    if (unit(index).gathered) refuse("gathers parameters that are whole already");
    unit(index).gathered = true;
    ++unit(index).gathers;
  }
  // Every micro-batch, a head whose table is another unit's may have had its own gradients before.
  void reduce(std::int32_t index) {
    UnitState& state = unit(index);
    const bool often =
        program_.reduces_every && ++state.reduces <= program_.microbatches / program_.weight_copies;
    if (!state.pending && !often) refuse("no gradient has come since its last reduction");
    if (!program_.reduces_every) ++state.reduces;
    state.pending = false;
  }
  void sum(std::int32_t index, std::int32_t& count, const char* over) {
    if (unit(index).pending || unit(index).reduces == 0) refuse("sums gradients before their reduction");
    if (++count > 1) refuse("sums gradients {} again", over);
  }
  void clip() {
    if (clips_++ > 0) refuse("takes the norm again");
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(units_.size()); ++i) {
      const UnitState& state = unit(i);
      const auto at = static_cast<std::size_t>(i);
      if (state.pending || state.reduces == 0)
        refuse("takes the norm before the gradients of {} are reduced", to_string(unit_of(i)));
      if (facts_.shared[at] && state.shared_sums == 0)
        refuse("takes the norm before the gradients of {} are summed over its cut", to_string(unit_of(i)));
      if (facts_.copied[at] && state.copy_sums == 0)
        refuse("takes the norm before the gradients of {} are summed over its copies", to_string(unit_of(i)));
    }
  }
  void update(std::int32_t index) {
    UnitState& state = unit(index);
    if (clips_ == 0) refuse("updates before the norm of all gradients is known");
    if (state.pending || state.reduces == 0) refuse("updates with gradients that are not reduced");
    if (++state.updates > 1) refuse("updates a second time");
  }
  void use(const Step& step, const Operands& operands) {
    const Unit::Kind kind = unit_of(step.unit).kind;
    const bool tied = kind == Unit::Kind::head && operands.what == Operator::linear && operands.weight < 0;
    const std::int32_t index = tied ? facts_.tied_unit : step.unit;
    const bool cut = program_.gathers_once || program_.gathers_always;
    if (cut && reads_weight(operands, kind) && !unit(index).gathered)
      refuse("reads weights of {} that are not gathered", to_string(unit_of(index)));
    if (!writes_weight_gradient(operands, kind)) return;
    if (unit(index).updates > 0) refuse("gradient of {} after its update", to_string(unit_of(index)));
    if (unit(index).reduces > 0 && !program_.reduces_every)
      refuse("gradient of {} after its reduction", to_string(unit_of(index)));
    unit(index).pending = true;
  }

  // Order.
  std::int16_t next_of_half(const LayerWork& work, std::int16_t from, bool weights) const {
    const auto size = static_cast<std::int16_t>(work.backward.size());
    while (from < size && work.backward[static_cast<std::size_t>(from)].weight_half != weights) ++from;
    return from;
  }
  void order(const Step& step) {
    const LayerWork& work = *unit_of(step.unit).work;
    PassState& state = pass(step.unit, step.microbatch);
    if (!step.backward) return advance(state.forward, state.forward, step.op, "forward");
    if (state.forward != static_cast<std::int16_t>(work.forward.size()))
      refuse("backward before its forward is done");
    const bool weights = work.backward[static_cast<std::size_t>(step.op)].weight_half;
    const std::int16_t expected = next_of_half(work, weights ? state.weight : state.input, weights);
    if (weights && next_of_half(work, state.input, false) < step.op)
      refuse("weight gradient before the input gradients that it follows");
    advance(weights ? state.weight : state.input, expected, step.op, weights ? "weight half" : "backward");
  }
  void advance(std::int16_t& next, std::int16_t expected, std::int16_t op, const char* list) {
    if (op < expected) refuse("runs again: the {} has passed it", list);
    if (op > expected) refuse("runs before operation {} of the {}", expected, list);
    next = std::max(next, static_cast<std::int16_t>(op + 1));
  }

  void op(const Step& step) {
    if (places_.copy_of(step.microbatch) != unit_of(step.unit).copy)
      refuse("this copy of the weights does not run micro-batch {}", step.microbatch);
    order(step);
    const Operands& operands = operands_of(step, facts_.units);
    use(step, operands);
    const auto place = [&](std::int16_t value) { return places_.at(step.unit, step.microbatch, value); };
    for (const std::int16_t value : operands.reads) read(place(value));
    for (const std::int16_t value : operands.writes) make(place(value));
    for (const std::int16_t value : step.frees) free(place(value));
  }

  void at_end() {
    const std::size_t end = mine_.steps.size();
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(units_.size()); ++i) {
      complete(i);
      if (unit(i).updates == 0) refuse(end, "{} is never updated", to_string(unit_of(i)));
      if (program_.gathers_always && unit(i).gathered)
        refuse(end, "the parameters of {} are never released", to_string(unit_of(i)));
    }
    for (std::size_t i = 0; i < values_.size(); ++i) {
      if (values_[i].state == State::alive)
        refuse(static_cast<std::size_t>(values_[i].step), "{} is never freed",
               places_.name(static_cast<std::int64_t>(i)));
    }
    if (clips_ == 0) refuse(end, "the norm of the gradients is never taken");
  }
  void complete(std::int32_t index) {
    if (unit_of(index).table_only) return;
    const LayerWork& work = *unit_of(index).work;
    const auto all = static_cast<std::int16_t>(work.backward.size());
    for (std::int32_t m = 0; m < program_.microbatches; ++m) {
      if (places_.copy_of(m) != unit_of(index).copy) continue;
      const PassState& state = pass(index, m);
      const bool forward = state.forward == static_cast<std::int16_t>(work.forward.size());
      const bool backward = next_of_half(work, state.input, false) == all;
      const bool weight = next_of_half(work, state.weight, true) == all;
      if (forward && backward && weight) continue;
      refuse(mine_.steps.size(), "{} never ends the {} of micro-batch {}", to_string(unit_of(index)),
             !forward    ? "forward"
             : !backward ? "backward"
                         : "weight gradients",
             m);
    }
  }

  const ProgramSteps& program_;
  std::int32_t rank_;
  const RankSteps& mine_;
  const StageFacts& facts_;
  Places places_;
  std::vector<Place> values_;
  std::vector<UnitState> units_;
  std::vector<PassState> passes_;
  std::vector<Finding> findings_;
  std::int32_t clips_ = 0;
  std::size_t at_ = 0;
};

}  // namespace

std::string to_string(const Finding& finding) {
  return fmt::format("rank {} step {}: {}: {}", finding.rank, finding.step, finding.op, finding.reason);
}

std::vector<Finding> verify_rank(const ProgramSteps& steps, std::int32_t rank) {
  return RankCheck(steps, rank).run();
}

// Ranks of one stage mostly do the same: what was found sound is not looked at again.
std::vector<Finding> verify(const ProgramSteps& steps) {
  std::vector<Finding> out;
  std::map<std::int32_t, std::int32_t> sound;  // stage -> rank
  for (std::int32_t rank = 0; rank < static_cast<std::int32_t>(steps.ranks.size()); ++rank) {
    const RankSteps& mine = steps.ranks[static_cast<std::size_t>(rank)];
    if (const auto like = sound.find(mine.stage); like != sound.end()) {
      const RankSteps& other = steps.ranks[static_cast<std::size_t>(like->second)];
      if (std::equal(mine.steps.begin(), mine.steps.end(), other.steps.begin(), other.steps.end(),
                     [](const RankStep& a, const RankStep& b) { return same(a.step, b.step); }))
        continue;
    }
    const std::vector<Finding> found = verify_rank(steps, rank);
    if (found.empty()) sound.emplace(mine.stage, rank);
    out.insert(out.end(), found.begin(), found.end());
  }
  const std::vector<Finding> traffic = verify_traffic(steps);
  out.insert(out.end(), traffic.begin(), traffic.end());
  return out;
}

std::vector<Finding> verify(const Program& program) {
  return verify(steps_of(program));
}

}  // namespace tw
