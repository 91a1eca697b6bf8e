#include "costmodel/program/step_seconds.hpp"

#include <map>

#include "costmodel/state.hpp"

namespace tw {
namespace {

class Prices {
 public:
  Prices(const Program& program, const Machine& machine)
      : program_(program), machine_(machine), pricer_(machine, program.input().layout.precision) {
    const ProgramInput& in = program.input();
    const EmitInput input{.model = &in.model,
                          .profile = &in.profile,
                          .key = pass_key(in.layout),
                          .seq = in.job.seq,
                          .routing = {}};
    PassCost pass = unpriced_pass(input);
    price_pass(pass, input, pricer_);
    links_ = pass.links;
    state_ = state_cost(pass, in.layout, in.job, machine);
  }

  double of(const Step& step, std::int32_t stage) {
    switch (step.action) {
      case Action::op:
        return operation(step, stage);
      case Action::send:
        return state_.send;
      case Action::gather:
        return state(step, stage).gather;
      case Action::reduce:
        return state(step, stage).reduce;
      case Action::update:
        return state(step, stage).optimizer;
      case Action::sum_copies:
        return copies(step, stage);
      default:
        return 0;
    }
  }

 private:
  const Unit& unit(const Step& step, std::int32_t stage) const {
    return program_.units(stage)[static_cast<std::size_t>(step.unit)];
  }
  const KindState& state(const Step& step, std::int32_t stage) const {
    const Unit& unit = this->unit(step, stage);
    if (unit.kind == Unit::Kind::embedding) return state_.embedding;
    if (unit.kind == Unit::Kind::head) return state_.head;
    return state_.kinds[program_.input().model.layer_kind[static_cast<std::size_t>(unit.layer)]];
  }
  double copies(const Step& step, std::int32_t stage) const {
    if (program_.input().model.tied_embeddings && unit(step, stage).kind != Unit::Kind::layer)
      return state_.tied_reduce;
    const Bytes bytes(state(step, stage).owned);
    return machine_.calibration->collective(Collective::all_reduce, state_.hop, bytes).time.value;
  }
  double operation(const Step& step, std::int32_t stage) {
    const LayerWork& work = *unit(step, stage).work;
    const auto [found, made] = known_.try_emplace(&work);
    if (made) found->second = pricer_.price(work, links_);
    const PricedList& list = step.backward ? found->second.backward : found->second.forward;
    return list.ops[static_cast<std::size_t>(step.op)].seconds;
  }

  const Program& program_;
  const Machine& machine_;
  Pricer pricer_;
  PassLinks links_;
  StateCost state_;
  std::map<const LayerWork*, PricedLayer> known_;
};

}  // namespace

StepSeconds step_seconds(const Program& program, const Machine& machine) {
  Prices prices(program, machine);
  StepSeconds out;
  for (std::int32_t stage = 0; stage < program.stages(); ++stage) {
    std::vector<double>& list = out.emplace_back();
    for (const Step& step : program.steps(stage)) list.push_back(prices.of(step, stage));
  }
  return out;
}

}  // namespace tw
