#include "costmodel/sim/cargo.hpp"

#include "costmodel/program/view.hpp"

namespace tw {
namespace {

Traffic traffic_of(Dispatch how) {
  constexpr Traffic kTraffic[] = {Traffic::direct, Traffic::two_level, Traffic::rail, Traffic::dedup};
  return kTraffic[static_cast<std::size_t>(how)];
}

class Loader {
 public:
  Loader(const Program& program, const SimGroups& groups, const StepContext& context, bool skewed)
      : program_(program),
        groups_(groups),
        context_(context),
        skewed_(skewed),
        layout_(program.input().layout),
        state_(state_of(*context.machine.profile, layout_.zero)) {}

  Cargo of(const Step& step, std::int32_t stage, std::int8_t kind) const {
    switch (step.action) {
      case Action::op:
        return of(op_of(step, program_.units(stage)),
                  program_.units(stage)[static_cast<std::size_t>(step.unit)]);
      case Action::send:
        return {boundary()};
      case Action::gather:
        return {states(step, stage, kind, state_.gather)};
      case Action::reduce: {
        const bool replicas = groups_.kinds()[static_cast<std::size_t>(kind)].why == Meeting::replicas;
        const std::int64_t bytes = states(step, stage, kind, state_.reduce);
        if (!replicas) return {bytes};
        return {layout_.zero > 0 ? bytes / shards_of(kind) : bytes, Traffic::twice_round};
      }
      case Action::sum_copies:
        return {all_states(step, stage, state_.reduce), Traffic::twice_round};
      default:
        return {};
    }
  }

 private:
  Cargo of(const Op& op, const Unit& unit) const {
    if (const auto* c = std::get_if<CollectiveWork>(&op.work)) {
      const bool sum = c->kind == Collective::all_reduce, all = c->kind == Collective::all_to_all;
      const auto bytes = static_cast<std::int64_t>(op.share * op.wire * c->bytes.to_double());
      return {bytes, sum ? Traffic::twice_round : all ? Traffic::direct : Traffic::round};
    }
    if (const auto* d = std::get_if<DispatchWork>(&op.work))
      return {d->bytes.count, traffic_of(layout_.dispatch), static_cast<float>(d->copies),
              static_cast<float>(d->nodes_limit), static_cast<std::int16_t>(skewed_ ? unit.layer : -1)};
    const auto* r = std::get_if<RingWork>(&op.work);
    return r ? Cargo{r->bytes.count * r->hops, Traffic::next} : Cargo{};
  }

  LocalElements elements(const Step& step, std::int32_t stage) const {
    return local_elements(*program_.units(stage)[static_cast<std::size_t>(step.unit)].work);
  }
  std::int64_t all_states(const Step& step, std::int32_t stage, DType type) const {
    const LocalElements local = elements(step, stage);
    return (local.attention + local.expert) * size_of(type);
  }
  std::int64_t states(const Step& step, std::int32_t stage, std::int8_t kind, DType type) const {
    const LocalElements local = elements(step, stage);
    const bool experts = groups_.kinds()[static_cast<std::size_t>(kind)].scope == Scope::expert;
    return (experts ? local.expert : local.attention) * size_of(type);
  }
  // Ranks that states of the same scope are cut over.
  std::int64_t shards_of(std::int8_t replicas) const {
    const Scope scope = groups_.kinds()[static_cast<std::size_t>(replicas)].scope;
    return static_cast<std::int64_t>(program_.shard_group(Rank(0), scope).size());
  }
  // As the closed form prices a hop.
  std::int64_t boundary() const {
    const bool whole = state_.sends_whole && !layout_.sp;
    const std::int64_t tokens =
        std::int64_t{layout_.mb} * context_.job.seq / layout_.cp / (whole ? 1 : layout_.tp);
    return tokens * context_.job.model->hidden * size_of(DType::bf16);
  }

  const Program& program_;
  const SimGroups& groups_;
  const StepContext& context_;
  bool skewed_;
  const Layout& layout_;
  const StateMechanisms& state_;
};

}  // namespace

CarriedBy cargo_of(const Program& program, const SimGroups& groups, const StepContext& context, bool skewed) {
  return [loader = Loader(program, groups, context, skewed)](
             const Step& step, std::int32_t stage, std::int8_t kind) { return loader.of(step, stage, kind); };
}

}  // namespace tw
