// What operations read and write, where a Program asks for it.
#include "costmodel/blocks/builder.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

GroupKey group_of(const Work& work) {
  if (const auto* c = std::get_if<CollectiveWork>(&work)) return c->group;
  if (const auto* d = std::get_if<DispatchWork>(&work)) return d->group;
  return {};
}

HeadShape heads_of(const AttentionShape& shape) {
  return {shape.heads, shape.kv_heads, shape.head_dim};
}

}  // namespace

bool Builder::is_gradient(std::int16_t value) const {
  return value >= 0 && work_.operands.values[static_cast<std::size_t>(value)].gradient;
}

// The value of a tensor that a backward reads: a slice is made again from what was kept.
std::int16_t Builder::read_again(TensorId id) {
  if (!input_.operands) return -1;
  const Node* producer = producer_of(id);
  if (!producer || producer->kind != Kind::conversion || producer->conversion != Conversion::slice)
    return value_of(id);
  const std::int16_t from = read_again(producer->inputs[0]);
  const TensorSpec &source = at(producer->inputs[0]).spec, &slice = at(id).spec;
  const std::int16_t made = new_value(slice);
  free_op(work_.backward, slice.name, Stream::compute,
          {.what = Operator::convert,
           .half = Half::backward,
           .reads = {from},
           .writes = {made},
           .conversion = Conversion::slice,
           .from = source.place,
           .to = slice.place,
           .group = group(slice.scope)});
  return made;
}

Operands Builder::forward_operands(const Node& node) {
  Operands out;
  if (!input_.operands) return out;
  out.weight = node.kind == Kind::linear ? node.weight : node.pointwise.weight;
  switch (node.kind) {
    case Kind::add:
      out.what = Operator::add;
      break;
    case Kind::linear:
      out.what = Operator::linear;
      break;
    case Kind::exchange:
      out.what = node.exchange.what;
      out.group = group_of(node.exchange.work);
      out.heads = node.exchange.heads;
      break;
    default:
      out.what = node.pointwise.what;
      out.heads = node.pointwise.heads;
  }
  for (const TensorId id : node.inputs) out.reads.push_back(value_of(id));
  TensorSpec made = at(node.output).spec;
  if (out.what == Operator::choose) {  // all probabilities beside the chosen ones
    const std::int64_t experts = at(node.inputs[0]).spec.width;
    made.width = made.width * made.element_bytes + experts * size_of(DType::fp32);
    made.element_bytes = 1;
  }
  out.writes = {new_value(made)};
  return out;
}

// The gradient first, then what was kept for it in the order of the node's needs; one gradient out for
// each input.
Operands Builder::backward_operands(const Node& node, std::int16_t gradient) {
  Operands out;
  if (!input_.operands || node.kind == Kind::attention) return out;
  const bool exchange = node.kind == Kind::exchange;
  out.what = exchange ? node.exchange.what : node.pointwise.what;
  out.half = Half::backward;
  out.weight = node.pointwise.weight;
  out.heads = exchange ? node.exchange.heads : node.pointwise.heads;
  if (exchange) out.group = group_of(node.exchange.work);
  out.reads = {gradient};
  for (const TensorId id : node.needs) out.reads.push_back(read_again(id));
  if (out.what == Operator::score) out.reads = {out.reads[1], work_.operands.output};
  if (out.what == Operator::choose && at(node.output).beside >= 0)
    out.reads.push_back(at(node.output).beside);
  for (const TensorId id : node.inputs) {
    TensorSpec spec = at(id).spec;
    spec.place = gradient_of(spec.place);
    if (out.what == Operator::permute && id.index != node.inputs[0].index)
      spec.element_bytes = size_of(DType::fp32);  // of the chosen experts' probabilities alone
    out.writes.push_back(new_value(spec, true));
  }
  return out;
}

void Builder::balance(TensorId choice) {
  if (!input_.operands) return;
  const std::uint8_t sharers = static_cast<std::uint8_t>(bit(Dim::tp) | bit(Dim::cp));
  const std::int64_t experts = at(producer_of(choice)->inputs[0]).spec.width;
  const std::int16_t counts = new_bytes("balance", experts * input_.key.mb * size_of(DType::fp32));
  at(choice).beside = counts;
  free_op(work_.forward, "balance", Stream::network,
          {.what = Operator::balance,
           .reads = {value_of(choice)},
           .writes = {counts},
           .group = attention_group(sharers)});
}

// Forward: rows -> context and statistics. Backward: gradient, rows, context, statistics -> gradient of
// the rows. With a ring the blocks of the others come first and their gradients go home last.
Builder::AttentionValues Builder::attention_values(const Node& node, std::int16_t gradient, bool backward) {
  AttentionValues out;
  if (!input_.operands) return out;
  const AttentionSpec& spec = node.attention;
  const GroupKey ranks = attention_group(bit(Dim::cp));
  const std::int64_t blocks = spec.ring_hops * spec.hop.count;
  const std::int16_t rows = read_again(node.inputs[0]);
  const HeadShape heads = heads_of(spec.shape);
  Operands& last = out.last;
  last = {.what = Operator::attention, .half = backward ? Half::backward : Half::forward, .heads = heads};
  if (backward)
    last.reads = {gradient, rows, read_again(node.output), at(node.output).beside};
  else
    last.reads = {rows};
  TensorSpec made = backward ? at(node.inputs[0]).spec : at(node.output).spec;
  out.made = new_value(made, backward);
  last.writes = {out.made};
  if (!backward)
    last.writes.push_back(at(node.output).beside = new_bytes("statistics", spec.statistics.count));
  if (spec.ring_hops == 0) return out;
  out.ring = {.what = Operator::ring,
              .half = last.half,
              .reads = {rows},
              .writes = {new_bytes("ring", blocks)},
              .group = ranks,
              .heads = heads};
  last.reads.push_back(out.ring.writes[0]);
  out.others = last;
  // In fp32; forward with the maximum and the sum of each row.
  const std::int64_t part = work_.operands.values[static_cast<std::size_t>(out.made)].bytes() * 2;
  const std::int64_t rows_of = backward ? 0 : 2 * spec.statistics.count;
  out.others.writes = {new_bytes("partial", part + rows_of, backward)};
  if (backward) out.others.writes.push_back(new_bytes("ring_gradient", 2 * blocks, true));
  last.reads.append(out.others.writes);
  if (!backward) return out;
  const std::int16_t own = new_bytes("partial", part, true);
  const std::int16_t foreign = new_bytes("ring_gradient", 2 * blocks, true);
  last.writes = {own, foreign};
  out.home = {.what = Operator::ring_return,
              .half = Half::backward,
              .reads = {own, foreign},
              .writes = {out.made},
              .group = ranks,
              .heads = heads};
  return out;
}

}  // namespace tw
