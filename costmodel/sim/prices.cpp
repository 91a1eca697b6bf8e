// The closed form's prices of every step of a Program.
#include "costmodel/sim/simulate.hpp"

namespace tw {
namespace {

class Prices {
 public:
  Prices(const Program& program, const StepContext& context, const Chain& chain)
      : program_(program),
        context_(context),
        chain_(chain),
        still_(standstill(context, chain)),
        first_(static_cast<std::size_t>(program.stages())) {
    for (std::int32_t stage = 0; stage < program.stages(); ++stage) find_first(stage);
  }

  StepPrice of(const Step& step, std::int32_t stage) const {
    switch (step.action) {
      case Action::op: {
        const KindPass& pass = pass_of(unit(step.unit, stage));
        const PricedList& list = step.backward ? pass.backward : pass.forward;
        const PricedOp* op = &list.ops[static_cast<std::size_t>(step.op)];
        return {op, op->seconds, op->lost};
      }
      case Action::send:
        return {nullptr, still_.send > 0 ? 0 : chain_.state->send};
      case Action::gather:
        return {nullptr, state_of(unit(step.unit, stage)).gather, chain_.state->gather.lost};
      case Action::reduce:
        return reduction(state_of(unit(step.unit, stage)));
      case Action::sum_shared:
        return {nullptr, &step == first(stage).shared ? chain_.state->tp_reduce : 0};
      case Action::sum_copies:
        return {nullptr, &step == first(stage).copied ? first(stage).copies : 0};
      case Action::clip:
        return {nullptr, context_.machine.calibration->synchronise().value};
      case Action::update:
        return {nullptr, state_of(unit(step.unit, stage)).optimizer};
      default:
        return {};
    }
  }
  double copies(std::int32_t stage, std::int32_t unit, bool backward) const {
    const KindState& state = state_of(this->unit(unit, stage));
    return backward ? state.copies_b : state.copies_f;
  }
  double standing() const { return still_.send + still_.host; }

 private:
  // Sums that frameworks do in one call a step: the first of a stage pays for all of them.
  struct First {
    const Step *shared = nullptr, *copied = nullptr;
    double copies = 0;
  };
  const First& first(std::int32_t stage) const { return first_[static_cast<std::size_t>(stage)]; }
  const Unit& unit(std::int32_t index, std::int32_t stage) const {
    return program_.units(stage)[static_cast<std::size_t>(index)];
  }

  void find_first(std::int32_t stage) {
    First& first = first_[static_cast<std::size_t>(stage)];
    std::int64_t bytes = 0;
    for (const Step& step : program_.steps(stage)) {
      if (step.action == Action::sum_shared && !first.shared) first.shared = &step;
      if (step.action != Action::sum_copies) continue;
      if (!first.copied) first.copied = &step;
      bytes += state_of(unit(step.unit, stage)).owned;
    }
    if (!first.copied) return;
    const bool twice = schedule_at(chain_.layout->schedule).weight_copies > 1;
    first.copies = twice ? context_.machine.calibration
                               ->collective(Collective::all_reduce, chain_.state->hop, Bytes(bytes))
                               .time.value
                         : chain_.state->tied_reduce;
  }

  // Where gradients stay whole for the step, all stands while they are reduced at its end.
  StepPrice reduction(const KindState& state) const {
    const StateMechanisms& s = tw::state_of(*context_.machine.profile, chain_.layout->zero);
    const bool whole = state.reduce == 0;
    return {nullptr, whole ? state.last_extra : state.reduce, chain_.state->reduce.lost,
            whole || !s.overlap_reduce};
  }

  std::size_t kind_of(const Unit& unit) const {
    return context_.job.model->layer_kind[static_cast<std::size_t>(unit.layer)];
  }
  const KindPass& pass_of(const Unit& unit) const {
    switch (unit.kind) {
      case Unit::Kind::embedding:
        return chain_.pass->embedding;
      case Unit::Kind::head:
        return chain_.pass->head;
      case Unit::Kind::mtp_entry:
        return chain_.pass->mtp_entry;
      case Unit::Kind::layer:
        break;
    }
    return (program_.is_plain(unit) ? chain_.plain : chain_.pass)->kinds[kind_of(unit)];
  }
  const KindState& state_of(const Unit& unit) const {
    const StateCost& state = *(program_.is_plain(unit) ? chain_.plain_state : chain_.state);
    switch (unit.kind) {
      case Unit::Kind::embedding:
        return unit.table_only ? none_ : state.embedding;
      case Unit::Kind::head: {
        if (unit.module >= 0) return state.mtp_head;
        const bool copied = context_.job.model->tied_embeddings && holds_table(unit);
        return copied ? state.tied_head : state.head;
      }
      case Unit::Kind::mtp_entry:
        return state.mtp_entry;
      case Unit::Kind::layer:
        break;
    }
    return state.kinds[kind_of(unit)];
  }
  // A head whose stage has a table of its own for it, which counts with the head.
  bool holds_table(const Unit& head) const {
    for (std::int32_t stage = 0; stage < program_.stages(); ++stage) {
      const std::span<const Unit> units = program_.units(stage);
      if (&head < units.data() || &head >= units.data() + units.size()) continue;
      const std::int32_t tied = program_.tied_unit(stage);
      return tied >= 0 && units[static_cast<std::size_t>(tied)].table_only;
    }
    return false;
  }

  const Program& program_;
  const StepContext& context_;
  const Chain& chain_;
  Standstill still_;
  std::vector<First> first_;
  KindState none_;
};

}  // namespace

SimPrices framework_prices(const Program& program, const StepContext& context, const Chain& chain) {
  const auto prices = std::make_shared<Prices>(program, context, chain);
  SimPrices out;
  out.of = [prices](const Step& step, std::int32_t stage) { return prices->of(step, stage); };
  out.copies = [prices](std::int32_t stage, std::int32_t unit, bool backward) {
    return prices->copies(stage, unit, backward);
  };
  out.standstill = prices->standing(), out.per_step = context.per_step;
  out.slowdown = context.machine.calibration->compute_slowdown();
  out.gathers_every = chain.state->gathers_every, out.reduces_every = chain.state->reduces_every;
  const StateMechanisms& state = tw::state_of(*context.machine.profile, chain.layout->zero);
  out.backward_gathers = 1 + (chain.layout->recompute.full ? *state.regathered : 0);
  return out;
}

}  // namespace tw
