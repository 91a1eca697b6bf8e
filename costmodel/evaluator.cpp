#include "costmodel/evaluator.hpp"
#include "costmodel/program/routing.hpp"

#include <cmath>
#include <unordered_map>

namespace tw {
namespace {

std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 32);
}

std::uint64_t packed(std::initializer_list<std::int64_t> values) {
  std::uint64_t hash = 0x243f6a8885a308d3u;
  for (const std::int64_t value : values) hash = mix(hash, static_cast<std::uint64_t>(value));
  return hash;
}

struct PassKeyHash {
  std::size_t operator()(const PassKey& k) const {
    return packed({k.mb, k.tp, k.cp, k.ep, k.etp, k.sp, static_cast<int>(k.cp_kind),
                   static_cast<int>(k.dispatch), static_cast<int>(k.precision), k.recompute.full,
                   k.recompute.modules});
  }
};

// dp, zero, hsdp and offload of one pass.
struct StateKey {
  const PassCost* pass;
  std::int32_t dp, hsdp;
  std::int16_t zero, offload, order, pp;  // pp only where it lies inside dp
  friend bool operator==(const StateKey&, const StateKey&) = default;
};
struct StateKeyHash {
  std::size_t operator()(const StateKey& k) const {
    return packed({static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(k.pass)), k.dp, k.hsdp, k.zero,
                   k.offload, k.order, k.pp});
  }
};

}  // namespace

struct Evaluator::Cache {
  StepContext context;
  EvaluatorSettings settings;
  Pricer pricer;
  std::unordered_map<PassKey, std::unique_ptr<PassCost>, PassKeyHash> passes;
  std::unordered_map<StateKey, std::unique_ptr<StateCost>, StateKeyHash> states;
  // The search visits layouts of one pass, then of one state, one after another.
  PassKey last_key;
  PassCost* last_pass = nullptr;
  StateKey last_state_key{};
  StateCost* last_state = nullptr;

  // Between layouts: a chain that was handed out holds until the next one is asked for.
  void make_room() {
    if (passes.size() < settings.most_passes) return;
    states.clear(), passes.clear();
    last_pass = nullptr, last_state = nullptr;
  }

  const PassCost* pass(PassKey key, bool priced) {
    key.recompute.full_layers = 0;  // which layers are recomputed is the step's matter
    const EmitInput input{context.job.model,
                          context.machine.profile,
                          key,
                          context.job.seq,
                          for_ranks(settings.routing, context.job.model->moe(), key.ep),
                          false,
                          false,
                          context.job.training};
    if (!last_pass || !(key == last_key)) {
      std::unique_ptr<PassCost>& slot = passes[key];
      if (!slot) slot = std::make_unique<PassCost>(unpriced_pass(input));
      last_key = key;
      last_pass = slot.get();
    }
    if (priced && !last_pass->priced) price_pass(*last_pass, input, pricer);
    return last_pass;
  }

  const StateCost* state(const PassCost* pass, const Layout& l) {
    const bool inside = l.order == AxisOrder::tp_cp_ep_pp_dp;
    const StateKey key{pass,
                       l.dp,
                       l.hsdp,
                       static_cast<std::int16_t>(l.zero),
                       static_cast<std::int16_t>(l.offload),
                       static_cast<std::int16_t>(l.order),
                       static_cast<std::int16_t>(inside ? l.pp : 0)};
    if (!last_state || !(key == last_state_key)) {
      std::unique_ptr<StateCost>& slot = states[key];
      if (!slot) slot = std::make_unique<StateCost>(state_cost(*pass, l, context.job, context.machine));
      last_state_key = key;
      last_state = slot.get();
    }
    if (pass->priced && !last_state->priced) *last_state = state_cost(*pass, l, context.job, context.machine);
    return last_state;
  }
};

Evaluator::Evaluator(const Job& job, const Machine& machine, const EvaluatorSettings& settings)
    : cache_(new Cache{step_context(job, machine, settings.headroom),
                       settings,
                       Pricer(machine, Precision::bf16),
                       {},
                       {},
                       {},
                       nullptr,
                       {},
                       nullptr}) {}
Evaluator::~Evaluator() = default;
Evaluator::Evaluator(Evaluator&&) noexcept = default;

Chain Evaluator::chain(const Layout& layout, bool priced) {
  Chain chain{&layout, nullptr, nullptr, nullptr, nullptr};
  cache_->make_room();
  const PassKey key = pass_key(layout);
  if (layout.recompute.full && layout.recompute.full_layers > 0) {
    PassKey plain = key;
    plain.recompute = {};
    chain.plain = cache_->pass(plain, priced);
    chain.plain_state = cache_->state(chain.plain, layout);
  }
  chain.pass = cache_->pass(key, priced);
  chain.state = cache_->state(chain.pass, layout);
  return chain;
}

Cost Evaluator::cost(const Layout& layout) {
  return step_cost(cache_->context, chain(layout));
}
Cost Evaluator::cost(const Layout& layout, std::vector<StageDetail>& stages) {
  return step_cost(cache_->context, chain(layout), &stages);
}
// Memory before time: links are priced only for layouts that fit.
Cost Evaluator::cost_if_fits(const Layout& layout, double at_most) {
  const Chain known = chain(layout, false);
  const bool priced = known.pass->priced && known.state->priced && (!known.plain || known.plain->priced);
  Cost cost = tw::cost_if_fits(cache_->context, known);
  if (priced || !cost.fits) return cost;
  if (std::isfinite(at_most)) {
    cache_->pass(pass_key(layout), true);
    if (step_floor(cache_->context, known) > at_most) {
      cost.step_seconds = std::numeric_limits<double>::infinity();
      return cost;
    }
  }
  return tw::cost_if_fits(cache_->context, chain(layout));
}
const StepContext& Evaluator::context() const {
  return cache_->context;
}

}  // namespace tw
