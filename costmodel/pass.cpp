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

KindPass priced(const LayerWork& work, const PassLinks& links, const Machine& machine, Pricer& pricer) {
  KindPass out;
  const double slowdown = machine.calibration->compute_slowdown();
  out.forward = pricer.price(work.forward, work.forward_output, links);
  out.backward = pricer.price(work.backward, work.backward_output, links);
  out.f = resolve(out.forward, {}, slowdown);
  out.b = resolve(out.backward, {}, slowdown);
  out.input = resolve(input_half(out.backward), {}, slowdown);
  out.w = weight_half(out.backward);
  for (const Weight& weight : work.weights) {
    (weight.scope == Scope::expert ? out.weights.expert : out.weights.attention) += weight.local;
    if (weight.sequence_partial) out.weights.sequence_partial += weight.local;
  }
  out.kept = work.kept_bytes;
  out.recomputed = work.recomputed_bytes;
  out.widest = work.widest_bytes;
  return out;
}

}  // namespace

PassCost pass_cost(const EmitInput& input, const Machine& machine, Pricer& pricer) {
  PassCost out;
  out.links = pass_links(machine, input.key);
  pricer.set(input.key.dispatch, input.key.precision);
  for (const LayerKind& kind : input.model->kinds) {
    out.kinds.push_back(priced(emit_layer(input, kind), out.links, machine, pricer));
  }
  out.embedding = priced(emit_embedding(input), out.links, machine, pricer);
  out.head = priced(emit_head(input), out.links, machine, pricer);
  return out;
}

}  // namespace tw
