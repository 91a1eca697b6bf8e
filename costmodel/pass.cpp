#include "costmodel/pass.hpp"

namespace tw {
namespace {

// The list without its weight halves; dependencies on them fall away, as W runs later.
PricedList input_half(const PricedList& whole) {
  PricedList half;
  std::vector<std::int16_t> moved(whole.ops.size(), -1);
  for (std::size_t i = 0; i < whole.ops.size(); ++i) {
    if (whole.ops[i].weight_half) continue;
    moved[i] = static_cast<std::int16_t>(half.ops.size());
    PricedOp op = whole.ops[i];
    for (std::int16_t& index : op.after) index = index < 0 ? index : moved[static_cast<std::size_t>(index)];
    half.ops.push_back(op);
  }
  half.output = whole.output < 0 ? whole.output : moved[static_cast<std::size_t>(whole.output)];
  return half;
}

LayerTime weight_half(const PricedList& whole) {
  LayerTime time;
  for (const PricedOp& op : whole.ops) {
    if (!op.weight_half) continue;
    time.seconds += op.seconds;
    time.busy += op.seconds;
    time.terms.add(op.term, op.curve, op.seconds, op.spread);
  }
  return time;
}

KindPass unpriced(const LayerWork& work) {
  KindPass out;
  for (const Weight& weight : work.weights) {
    LocalWeights& w = out.weights;
    if (weight.frozen)
      (weight.scope == Scope::expert ? w.frozen_expert : w.frozen_attention) += weight.local;
    else
      (weight.scope == Scope::expert ? w.expert : w.attention) += weight.local;
    if (weight.sequence_partial && !weight.frozen) out.weights.sequence_partial += weight.local;
  }
  out.kept = work.kept_bytes;
  out.deferred = work.deferred_bytes;
  out.recomputed = work.recomputed_bytes;
  out.widest = work.widest_bytes;
  return out;
}

void price_kind(KindPass& pass, const LayerWork& work, const PassLinks& links, Pricer& pricer) {
  const double slowdown = pricer.machine().calibration->compute_slowdown();
  PricedLayer layer = pricer.price(work, links);
  pass.forward = std::move(layer.forward), pass.backward = std::move(layer.backward);
  pass.f = resolve(pass.forward, {}, slowdown);
  pass.b = resolve(pass.backward, {}, slowdown);
  pass.input = resolve(input_half(pass.backward), {}, slowdown);
  pass.w = weight_half(pass.backward);
}

}  // namespace

PassCost unpriced_pass(EmitInput input) {
  input.bytes_only = true;
  PassCost out;
  for (const LayerKind& kind : input.model->kinds) out.kinds.push_back(unpriced(emit_layer(input, kind)));
  out.embedding = unpriced(emit_embedding(input));
  out.head = unpriced(emit_head(input));
  if (input.model->mtp_layers > 0) out.mtp_entry = unpriced(emit_mtp_entry(input));
  return out;
}

void price_pass(PassCost& pass, const EmitInput& input, Pricer& pricer) {
  pass.links = pass_links(pricer.machine(), input.key);
  pricer.set(input.key.dispatch, input.key.precision);
  for (std::size_t i = 0; i < pass.kinds.size(); ++i) {
    price_kind(pass.kinds[i], emit_layer(input, input.model->kinds[i]), pass.links, pricer);
  }
  price_kind(pass.embedding, emit_embedding(input), pass.links, pricer);
  price_kind(pass.head, emit_head(input), pass.links, pricer);
  if (input.model->mtp_layers > 0) price_kind(pass.mtp_entry, emit_mtp_entry(input), pass.links, pricer);
  pass.priced = true;
}

double dispatch_seconds(const KindPass& pass) {
  std::array<double, 2> tiers{};
  for (const PricedList* list : {&pass.forward, &pass.backward}) {
    for (const PricedOp& op : list->ops)
      if (op.term == Term::ep && op.stream != Stream::compute) tiers[op.network_tier] += op.seconds;
  }
  return std::max(tiers[0], tiers[1]);
}

}  // namespace tw
