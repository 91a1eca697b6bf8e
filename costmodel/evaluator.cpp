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

struct LinkedKey {
  PassKey key;
  PassLinks links;
  friend bool operator==(const LinkedKey&, const LinkedKey&) = default;
};
struct LinkedKeyHash {
  std::size_t operator()(const LinkedKey& k) const { return PassKeyHash()(k.key); }
};

}  // namespace

class PassStore {
 public:
  // Pointers hold until room is made, which counts as a new generation.
  void make_room(std::size_t most) {
    if (passes_.size() < most) return;
    passes_.clear();
    ++generation_;
  }
  std::int64_t generation() const { return generation_; }
  std::unique_ptr<PassCost>& operator[](const LinkedKey& key) { return passes_[key]; }

 private:
  std::unordered_map<LinkedKey, std::unique_ptr<PassCost>, LinkedKeyHash> passes_;
  std::int64_t generation_ = 0;
};

std::shared_ptr<PassStore> pass_store() {
  return std::make_shared<PassStore>();
}

struct Evaluator::Cache {
  StepContext context;
  EvaluatorSettings settings;
  Pricer pricer;
  std::shared_ptr<PassStore> passes;
  std::int64_t generation = 0;  // of the store that the pointers below are of
  std::unordered_map<StateKey, std::unique_ptr<StateCost>, StateKeyHash> states;
  // The search visits layouts of one pass, then of one state, one after another.
  LinkedKey last_key;
  PassCost* last_pass = nullptr;
  StateKey last_state_key{};
  StateCost* last_state = nullptr;

  // Between layouts: a chain that was handed out holds until the next one is asked for.
  void make_room() {
    passes->make_room(settings.most_passes);
    if (generation == passes->generation()) return;
    generation = passes->generation();
    states.clear();
    last_pass = nullptr, last_state = nullptr;
  }

  // Links follow from the sizes alone.
  const PassLinks& links_of(const PassKey& key) {
    const PassKey& last = last_key.key;
    const bool same = key.tp == last.tp && key.cp == last.cp && key.ep == last.ep && key.etp == last.etp;
    if (!last_pass || !same) last_key.links = pass_links(context.machine, key);
    return last_key.links;
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
    if (!last_pass || !(key == last_key.key)) {
      last_key = {key, links_of(key)};
      std::unique_ptr<PassCost>& slot = (*passes)[last_key];
      if (!slot) slot = std::make_unique<PassCost>(unpriced_pass(input));
      last_pass = slot.get();
    }
    if (priced && !last_pass->priced) price_pass(*last_pass, input, pricer);
    return last_pass;
  }

  const StateCost* state(const PassCost* pass, const Layout& l, bool priced) {
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
      if (!slot) slot = std::make_unique<StateCost>(state_cost(*pass, l, context.job, context.machine, priced));
      last_state_key = key;
      last_state = slot.get();
    }
    if (priced && pass->priced && !last_state->priced)
      *last_state = state_cost(*pass, l, context.job, context.machine);
    return last_state;
  }

  struct Wanted {
    bool pass = true, state = true;  // priced; states as far as their pass is
  };
  Chain chain(const Layout& layout, Wanted wanted) {
    Chain chain{&layout, nullptr, nullptr, nullptr, nullptr};
    make_room();
    const PassKey key = pass_key(layout);
    if (layout.recompute.full && layout.recompute.full_layers > 0) {
      PassKey plain = key;
      plain.recompute = {};
      chain.plain = pass(plain, wanted.pass);
      chain.plain_state = state(chain.plain, layout, wanted.state);
    }
    chain.pass = pass(key, wanted.pass);
    chain.state = state(chain.pass, layout, wanted.state);
    return chain;
  }
};

Evaluator::Evaluator(const Job& job, const Machine& machine, const EvaluatorSettings& settings,
                     std::shared_ptr<PassStore> passes)
    : cache_(new Cache{step_context(job, machine, settings.headroom),
                       settings,
                       Pricer(machine, Precision::bf16),
                       std::move(passes),
                       0,
                       {},
                       {},
                       nullptr,
                       {},
                       nullptr}) {}
Evaluator::~Evaluator() = default;
Evaluator::Evaluator(Evaluator&&) noexcept = default;

Chain Evaluator::chain(const Layout& layout, bool priced) {
  return cache_->chain(layout, {priced, true});
}

Cost Evaluator::cost(const Layout& layout) {
  return step_cost(cache_->context, chain(layout));
}
Cost Evaluator::cost(const Layout& layout, std::vector<StageDetail>& stages) {
  return step_cost(cache_->context, chain(layout), &stages);
}
// Memory, then the bound, then time, whatever is cached: links are priced only for layouts that fit.
Cost Evaluator::cost_if_fits(const Layout& layout, double at_most) {
  const bool bounded = std::isfinite(at_most);
  const Chain known = cache_->chain(layout, {.pass = false, .state = !bounded});
  Cost cost = tw::cost_if_fits(cache_->context, known);
  if (!cost.fits) return cost;
  if (bounded) {
    cache_->pass(pass_key(layout), true);
    if (step_floor(cache_->context, known) > at_most) {
      cost.step_seconds = std::numeric_limits<double>::infinity();
      return cost;
    }
  }
  return is_priced(known) ? cost : tw::cost_if_fits(cache_->context, chain(layout));
}
const StepContext& Evaluator::context() const {
  return cache_->context;
}

}  // namespace tw
