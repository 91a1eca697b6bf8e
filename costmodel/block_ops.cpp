// The operations of a forward: GEMMs, attention with its ring, conversions of placement.
#include <algorithm>
#include <cmath>

#include "costmodel/blocks/builder.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

Collective collective_of(Conversion conversion) {
  switch (conversion) {
    case Conversion::all_gather:
      return Collective::all_gather;
    case Conversion::all_reduce:
      return Collective::all_reduce;
    case Conversion::reduce_scatter:
      return Collective::reduce_scatter;
    default:
      return Collective::all_to_all;
  }
}

// A product over some rows at a time. Its weight's gradient grows from part to part, in the one phase.
Op in_parts(Op op, double rows) {
  auto& shape = std::get<GemmShape>(op.work);
  op.share = static_cast<double>(shape.m) / rows;
  op.launches = static_cast<std::int16_t>(std::ceil(op.share));
  shape.m = std::llround(rows);
  return op;
}

}  // namespace

// `spec` has the placement to start from.
Builder::Ready Builder::convert(OpList& list, const TensorSpec& spec, Placement to, Conversion conversion,
                                const Ready& after, Term term) {
  if (conversion == Conversion::none) return after;
  TensorSpec made = spec;
  made.place = to;
  Operands operands{.what = Operator::convert,
                    .half = &list == &work_.forward ? Half::forward : Half::backward,
                    .reads = {after.value},
                    .conversion = conversion,
                    .from = spec.place,
                    .to = to,
                    .group = group(spec.scope)};
  const std::int16_t value = new_value(made, input_.operands && is_gradient(after.value));
  operands.writes = {value};
  if (conversion == Conversion::slice) {
    free_op(list, spec.name, Stream::compute, operands);
    return {after.before, after.during, value};
  }
  Op op;
  op.name = spec.name;
  const Collective kind = collective_of(conversion);
  const bool widened = *kernels().wide_sums && kind != Collective::all_gather && spec.element_bytes == 2;
  op.work = CollectiveWork{kind, group(spec.scope), Bytes(whole_bytes(spec).count * (widened ? 2 : 1))};
  op.term = term;
  op.stream = Stream::network;
  OpRefs before = after.before;
  if (after.during >= 0) before.push_back(after.during);
  const bool piped = kernels().tp_overlap && term == Term::tp && conversion != Conversion::all_reduce;
  if (!piped) return {{push(list, op, before, operands)}, -1, value};
  const double first = 1.0 / ranks(spec.scope);
  if (conversion == Conversion::all_gather) {
    op.share = first;
    const std::int16_t head = push(list, op, before, operands);
    op.share = 1 - first;
    return {{head}, push(list, op, {}, operands), value};
  }
  // A reduce-scatter runs under the GEMM that makes its input, one op earlier; the last part follows.
  const std::int16_t maker = before.empty() ? std::int16_t{-1} : before.front();
  op.share = 1 - first;
  push(list, op, {static_cast<std::int16_t>(maker - 1)}, operands);
  op.share = first;
  return {{push(list, op, before, operands)}, -1, value};
}

Op Builder::linear_op(const Node& node, GemmPass pass, std::int64_t width) const {
  const TensorSpec& in = at(node.inputs[0]).spec;
  TensorSpec out = at(node.output).spec;
  out.width = width;
  const LinearSpec& spec = node.linear;
  const std::int64_t read = spec.split == Split::row ? local_width(in) : in.width;
  const std::int64_t k = spec.depth > 0 ? spec.depth : read;
  const std::int64_t n = spec.split == Split::column ? local_width(out) : out.width;
  const StateMechanisms& state = input_.profile->state;
  const bool accumulates = pass == GemmPass::wgrad && state.fused_wgrad && state.gradient == DType::fp32;
  Op op;
  op.name = spec.name;
  op.term = node.term;
  op.module = node.module;
  op.low_precision = spec.low_precision;
  if (spec.adapter) op.math = *input_.training.lora->math;
  op.weight_half = pass == GemmPass::wgrad && spec.at_once == 0;
  const double rows = local_rows(in);
  if (spec.groups == 0) {
    op.work = GemmShape{std::llround(std::ceil(rows)), n, k, pass, accumulates};
    return spec.at_once > 0 && rows > spec.at_once ? in_parts(op, spec.at_once) : op;
  }
  const double groups = static_cast<double>(spec.groups_local);
  if (!kernels().grouped_gemm) {  // one product after another
    op.work = GemmShape{std::llround(std::ceil(rows / groups)), n, k, pass, accumulates};
    op.share = groups;
    op.launches = static_cast<std::int16_t>(spec.groups_local);
    return op;
  }
  if (*kernels().expert_launches) op.launches = static_cast<std::int16_t>(spec.groups_local);
  op.work = GroupedGemmShape{spec.groups_local, rows / groups, input_.routing.max_over_mean, n, k, pass,
                             accumulates};
  return op;
}

Widths Builder::gemm_widths(const LinearSpec& spec) const {
  return spec.parts.empty() || (kernels().merged_projections && !gate_apart(spec)) ? Widths{spec.out}
                                                                                   : spec.parts;
}

bool Builder::gate_apart(const LinearSpec& spec) const {
  return kernels().gate_apart && spec.axis == AxisName::ffn;
}

// One GEMM, or one per projection where they are not merged; their input gradients are then added up.
std::int16_t Builder::linear_ops(const Node& node, GemmPass pass, OpList& list, const OpRefs& after,
                                 Operands operands) {
  operands.what = Operator::linear;
  operands.weight = node.weight;
  const Widths widths = gemm_widths(node.linear);
  std::int16_t last = -1;
  for (const std::int64_t width : widths) {
    last = push(list, linear_op(node, pass, width), last < 0 ? after : OpRefs{}, operands);
  }
  if (pass != GemmPass::dgrad || widths.size() == 1 || node.linear.depth > 0) return last;
  const TensorSpec& in = at(node.inputs[0]).spec;
  Op sum;
  sum.name = node.name, sum.term = Term::elementwise, sum.module = node.module;
  const auto sums = static_cast<std::int64_t>(widths.size()) - 1;
  sum.work = Elementwise{Bytes(3 * sums * bytes_of(in))};
  sum.launches = static_cast<std::int16_t>(sums);
  return push(list, sum, {}, {.what = Operator::sum, .half = Half::backward});
}

// Ring attention (Liu et al. 2023, arXiv 2310.01889): each hop travels beside a block, and the last
// block needs the last hop: max(blocks - 1, hops) + 1 block, forward. Backward, the gradients of K and
// V travel one block behind, so that what follows waits for the ring; they are sums over ranks.
Builder::Ready Builder::attention_ops(const Node& node, OpList& list, const Ready& after, bool backward,
                                      Term term) {
  const AttentionSpec& spec = node.attention;
  Op op;
  op.name = spec.name;
  op.module = Module::core;
  op.term = term;
  AttentionShape shape = spec.shape;
  shape.backward = backward;
  op.work = shape;
  if (backward) op.launches = 2;  // the sum of dO*O, then the gradients
  AttentionValues values = attention_values(node, after.value, backward);
  std::int16_t ring = -1;
  if (spec.ring_hops > 0) {
    Op hop;
    hop.name = spec.name;
    hop.term = Term::cp;
    hop.stream = Stream::network;
    const int gradients = *kernels().wide_sums ? 2 : 1;
    hop.work =
        RingWork{attention_group(bit(Dim::cp)), spec.hop * (backward ? 1 + gradients : 1), spec.ring_hops};
    hop.launches = static_cast<std::int16_t>(spec.ring_hops);
    ring = push(list, hop, after.before, values.ring);
  }
  if (ring < 0) return {{push(list, op, after.before, values.last)}, -1, values.made};
  Op others = op;
  others.share = spec.ring_hops;
  others.launches = static_cast<std::int16_t>(op.launches * spec.ring_hops);
  push(list, others, after.before, values.others);
  if (!backward) return {{push(list, op, {ring}, values.last)}, -1, values.made};
  const std::int16_t last = push(list, op, {}, values.last);
  free_op(list, spec.name, Stream::network, values.home, Term::cp);
  return {{last, ring}, -1, values.made};
}

Builder::Ready Builder::listed_ops(const OpList& ops, OpList& list, const OpRefs& after,
                                   const Operands& operands) {
  Ready ready{after, -1};
  for (Op op : ops) {
    if (auto* moved = std::get_if<Elementwise>(&op.work)) moved->backward = &list == &work_.backward;
    ready = {{push(list, op, ready.before, operands)}, -1};
  }
  if (!operands.writes.empty()) ready.value = operands.writes[0];
  return ready;
}

Builder::Ready Builder::forward_ops(const Node& node, OpList& list, bool replay) {
  OpRefs before;
  std::int16_t during = -1;
  for (const TensorId id : node.inputs) {
    const Ready& ready = at(id).ready;
    before.append(ready.before);
    during = std::max(during, ready.during);
  }
  const std::int16_t value = node.inputs.empty() ? std::int16_t{-1} : value_of(node.inputs[0]);
  Op op;
  op.name = node.name;
  op.term = replay ? Term::recompute : node.term;
  op.module = node.module;
  Ready ready{before, during, value};
  if (node.kind == Kind::source) return {{}, -1, new_value(at(node.output).spec)};
  if (node.kind == Kind::conversion)
    return convert(list, at(node.inputs[0]).spec, at(node.output).spec.place, node.conversion, ready,
                   node.term);
  if (node.kind == Kind::attention) return attention_ops(node, list, ready, false, op.term);
  const bool view = node.kind == Kind::pointwise && node.pointwise.forward_bytes <= 0;
  if (view) return ready;
  Operands operands = forward_operands(node);
  const std::int16_t made_value = operands.writes.empty() ? std::int16_t{-1} : operands.writes[0];
  switch (node.kind) {
    case Kind::add:
      op.work = Elementwise{Bytes(3 * local_bytes(node.output) + node.pointwise.kept_bytes)};
      break;
    case Kind::pointwise:
      op.work = pointwise_work(node.pointwise.forward_bytes, node.pointwise.forward_flops);
      op.launches = node.pointwise.launches;
      op.routings = node.pointwise.routes ? 1 : 0;
      break;
    case Kind::exchange:
      op.work = node.exchange.work;
      op.term = node.term;
      op.stream = Stream::network;
      break;
    case Kind::listed:
      return listed_ops(listed_[static_cast<std::size_t>(node.listed)].forward, list, before, operands);
    default: {
      const std::size_t from = list.size();
      const bool low = gathers_low(list, node, ready, false);
      Ready made{{linear_ops(node, GemmPass::forward, list, before, operands)}, -1, made_value};
      share_cast(list, from, node, low, low || kernels().compiled);
      for (std::size_t i = from; i < list.size(); ++i) {
        list[i].term = op.term;
        if (replay) list[i].share *= 1 - node.saved;
      }
      if (during >= 0) made.before.push_back(during);
      return made;
    }
  }
  if (during >= 0) before.push_back(during);
  return {{push(list, op, before, operands)}, -1, made_value};
}

}  // namespace tw
