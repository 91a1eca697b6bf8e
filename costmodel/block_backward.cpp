// The operations of a backward: gradients handed from reader to maker along the tape.
#include <cmath>

#include "costmodel/blocks/builder.hpp"
#include "topology/check.hpp"

namespace tw {

void Builder::hand_gradient(TensorId to, Ready ready, Placement place) {
  Gradient& gradient = at(to).gradient;
  if (!gradient.exists) {
    gradient = {std::move(ready), place, true};
    return;
  }
  const TensorSpec& spec = at(to).spec;
  const Placement goal = gradient_of(spec.place);
  const auto settle = [&](const Ready& from, Placement have) {
    TensorSpec as = spec;
    as.place = have;
    const auto found = ranks(spec.scope) == 1 ? Conversion::none : conversion(have, goal);
    TW_CHECK(found.has_value());
    return convert(work_.backward, as, goal, *found, from,
                   spec.scope == Scope::attention ? Term::tp : Term::ep);
  };
  const Ready one = settle(gradient.ready, gradient.place), other = settle(ready, place);
  OpRefs both = one.before;
  both.append(other.before);
  TensorSpec whole = spec;
  whole.place = goal;
  const std::int16_t value = new_value(whole, true);
  Op join;
  join.name = "join";
  join.term = Term::elementwise;
  const Node* maker = producer_of(to);
  const bool fused =
      kernels().fused_add_norm && maker && maker->kind == Kind::add;  // read by the norm's backward
  join.work = Elementwise{Bytes((fused ? 1 : 3) * local_bytes(to))};
  const Operands operands{
      .what = Operator::sum, .half = Half::backward, .reads = {one.value, other.value}, .writes = {value}};
  gradient = {{{push(work_.backward, join, both, operands)}, -1, value}, goal, true};
}

// The gradient of a node's output, in the placement its operator reads.
Builder::Ready Builder::gradient_for(const Node& node) {
  Tensor& out = at(node.output);
  TW_CHECK(out.gradient.exists);
  const Placement goal = gradient_of(out.spec.place);
  if (ranks(out.spec.scope) == 1 || out.gradient.place == goal) return out.gradient.ready;
  const auto found = conversion(out.gradient.place, goal);
  TW_CHECK(found.has_value());
  TensorSpec as = out.spec;
  as.place = out.gradient.place;
  return convert(work_.backward, as, goal, *found, out.gradient.ready,
                 out.spec.scope == Scope::attention ? Term::tp : Term::ep);
}

// With sequence parallelism the weight gradient reads its input gathered again, under the dgrad.
Builder::Ready Builder::regather(const Node& node) {
  const Node* producer = producer_of(node.inputs[0]);
  const bool again = kernels().regather_input && producer && producer->kind == Kind::conversion &&
                     producer->conversion == Conversion::all_gather;
  if (!again) return {{}, -1, read_again(node.inputs[0])};
  const auto last = static_cast<std::int16_t>(work_.backward.size()) - 1;
  Op op;
  op.name = at(node.inputs[0]).spec.name;
  op.work = CollectiveWork{Collective::all_gather, group(at(node.inputs[0]).spec.scope),
                           whole_bytes(at(node.inputs[0]).spec)};
  op.term = node.linear.groups > 0 ? Term::ep : Term::tp;
  op.stream = Stream::network;
  const TensorSpec& in = at(node.inputs[0]).spec;
  const std::int16_t value = new_value(in);
  const Operands operands{.what = Operator::convert,
                          .half = Half::backward,
                          .reads = {read_again(producer->inputs[0])},
                          .writes = {value},
                          .conversion = Conversion::all_gather,
                          .from = at(producer->inputs[0]).spec.place,
                          .to = in.place,
                          .group = group(in.scope)};
  return {{push(work_.backward, op, {static_cast<std::int16_t>(last)}, operands)}, -1, value};
}

// Beyond the one all-reduce of the summed gradient, which its reader places.
void Builder::reduce_each_part(const Node& node, std::int16_t made) {
  const TensorSpec& in = at(node.inputs[0]).spec;
  const Node* producer = producer_of(node.inputs[0]);
  const bool gathered = producer && producer->kind == Kind::conversion;
  if (!gate_apart(node.linear) || gathered || ranks(in.scope) == 1) return;
  TensorSpec partial = in;
  partial.place = kPartial;
  for (std::size_t i = 1; i < node.linear.parts.size(); ++i) {
    const auto last = static_cast<std::int16_t>(work_.backward.size() - 1);
    convert(work_.backward, partial, kWhole, Conversion::all_reduce, {{last}, -1, made}, Term::tp);
  }
}

void Builder::linear_backward(const Node& node, const Ready& gradient) {
  const Ready again = node.linear.frozen ? Ready{} : regather(node);
  const bool column = node.linear.split == Split::column;
  const Placement place = column ? kPartial : gradient_of(at(node.inputs[0]).spec.place);
  TensorSpec in = at(node.inputs[0]).spec;
  in.place = place;
  const std::int16_t made = new_value(in, true);
  const bool low = gathers_low(work_.backward, node, gradient, true);
  gathers_low(work_.backward, node, again, false);
  const std::size_t from = work_.backward.size();
  const std::int16_t dgrad =
      linear_ops(node, GemmPass::dgrad, work_.backward, gradient.before,
                 {.half = Half::input_gradient, .reads = {gradient.value}, .writes = {made}});
  share_cast(work_.backward, from, node, low, false);
  if (node.linear.frozen) {
    reduce_each_part(node, made);
    return hand_gradient(node.inputs[0], {{dgrad}, -1, made}, place);
  }
  OpRefs before = again.before;
  if (gradient.during >= 0) before.push_back(gradient.during);
  const std::int16_t wgrad =
      linear_ops(node, GemmPass::wgrad, work_.backward, before,
                 {.half = Half::weight_gradient, .reads = {gradient.value, again.value}});
  if (node.linear.bias && !kernels().fused_bias_gradient) {
    Op sum;
    sum.name = node.name, sum.term = Term::elementwise, sum.module = node.module, sum.weight_half = true;
    sum.work = Elementwise{Bytes(local_bytes(node.output))};
    push(work_.backward, sum, {}, {.what = Operator::sum, .half = Half::weight_gradient});
  }
  reduce_each_part(node, made);
  hand_gradient(node.inputs[0], {{kernels().overlap_wgrad ? dgrad : wgrad}, -1, made}, place);
}

// The gradient and the mask are read, the gradient of what was added is written; the residual's passes.
void Builder::dropout_backward(const Node& node, const OpRefs& before) {
  Op drop;
  drop.name = "dropout", drop.term = Term::elementwise, drop.module = node.module;
  drop.work = Elementwise{Bytes(2 * local_bytes(node.output) + node.pointwise.kept_bytes), true};
  hand_gradient(node.inputs[0], {before, -1}, gradient_of(at(node.inputs[0]).spec.place));
  const std::int16_t dropped = push(work_.backward, drop, before, {.half = Half::backward});
  hand_gradient(node.inputs[1], {{dropped}, -1}, gradient_of(at(node.inputs[1]).spec.place));
}

void Builder::backward_ops(Node& node) {
  if (node.kind == Kind::source || !at(node.output).gradient.exists) return;
  const bool checkpointed = whole_layer() || !discards_output(checkpoint(node.module));
  if (node.recomputed && !node.replayed && checkpointed)
    replay(static_cast<std::int32_t>(&node - nodes_.data()));
  replay_for(node);
  const TensorSpec& out = at(node.output).spec;
  if (node.kind == Kind::conversion) {
    const Gradient& gradient = at(node.output).gradient;
    const TensorSpec& in = at(node.inputs[0]).spec;
    const auto found = conversion(gradient.place, gradient_of(in.place));
    TW_CHECK(found.has_value());
    TensorSpec as = out;
    as.place = gradient.place;
    const Placement goal = gradient_of(in.place);
    hand_gradient(node.inputs[0], convert(work_.backward, as, goal, *found, gradient.ready, node.term), goal);
    return;
  }
  const bool view = node.kind == Kind::pointwise && node.pointwise.backward_bytes <= 0;
  const bool summary = node.kind == Kind::exchange && node.exchange.summary;
  if (view || summary) {  // the gradient passes as it is
    const Gradient gradient = at(node.output).gradient;
    for (const TensorId id : node.inputs) hand_gradient(id, gradient.ready, gradient.place);
    return;
  }
  const bool moves = node.kind == Kind::pointwise && node.pointwise.moves_rows;
  const Placement arrives = at(node.output).gradient.place;
  const Ready gradient = moves ? at(node.output).gradient.ready : gradient_for(node);
  OpRefs before = gradient.before;
  if (node.kind == Kind::linear) return linear_backward(node, gradient);
  if (gradient.during >= 0) before.push_back(gradient.during);
  if (node.kind == Kind::add && node.pointwise.kept_bytes > 0) return dropout_backward(node, before);
  if (node.kind == Kind::add) {
    for (const TensorId id : node.inputs)
      hand_gradient(id, {before, -1, gradient.value}, gradient_of(at(id).spec.place));
    return;
  }
  const Operands operands = backward_operands(node, gradient.value);
  Ready made;
  Op op;
  op.name = node.name;
  op.term = node.term;
  op.module = node.module;
  switch (node.kind) {
    case Kind::exchange:
      op.work = node.exchange.work;
      op.stream = Stream::network;
      made = {{push(work_.backward, op, before, operands)}, -1};
      break;
    case Kind::listed:
      made = listed_ops(listed_[static_cast<std::size_t>(node.listed)].backward, work_.backward, before,
                        operands);
      break;
    case Kind::attention:
      made = attention_ops(node, work_.backward, {before, -1, gradient.value}, true, node.term);
      break;
    default:
      op.work = pointwise_work(node.pointwise.backward_bytes, node.pointwise.backward_flops, true);
      op.launches =
          node.pointwise.backward_launches > 0 ? node.pointwise.backward_launches : node.pointwise.launches;
      op.routings = node.pointwise.routes ? 2 : 0;  // both gradients: as many kernels again
      made = {{push(work_.backward, op, before, operands)}, -1};
  }
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.kind != Kind::attention && input_.operands) made.value = operands.writes[i];
    const TensorId id = node.inputs[i];
    hand_gradient(id, made, moves ? arrives : gradient_of(at(id).spec.place));
  }
}

}  // namespace tw
