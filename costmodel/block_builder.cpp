#include "costmodel/blocks/builder.hpp"

#include <algorithm>
#include <cmath>

#include "topology/check.hpp"

namespace tw {
namespace {

bool cuts_rows(Placement place) {
  return place.kind == Placement::Kind::cut && (place.axis == AxisName::seq || place.axis == AxisName::batch);
}

bool cuts_features(Placement place) {
  return place.kind == Placement::Kind::cut && !cuts_rows(place);
}

}  // namespace

Builder::Builder(const EmitInput& input)
    : input_(input), tokens_(static_cast<double>(input.key.mb) * input.seq / input.key.cp) {
  constexpr std::size_t kUsualNodes = 48;
  tensors_.reserve(kUsualNodes), nodes_.reserve(kUsualNodes);
}

Placement Builder::residual() const {
  return input_.key.sp ? cut(AxisName::seq) : kWhole;
}

const Builder::Node* Builder::producer_of(TensorId id) const {
  const std::int32_t index = at(id).producer;
  return index < 0 ? nullptr : &nodes_[static_cast<std::size_t>(index)];
}

std::int32_t Builder::ranks(Scope scope) const {
  return scope == Scope::attention ? input_.key.tp : input_.key.etp;
}

GroupKey Builder::group(Scope scope) const {
  return scope == Scope::attention ? attention_group(bit(Dim::tp)) : expert_group(bit(Dim::etp));
}

double Builder::local_rows(const TensorSpec& spec) const {
  return cuts_rows(spec.place) ? spec.rows / ranks(spec.scope) : spec.rows;
}

std::int64_t Builder::local_width(const TensorSpec& spec) const {
  const std::int32_t parts = ranks(spec.scope);
  return cuts_features(spec.place) ? (spec.width + parts - 1) / parts : spec.width;
}

std::int64_t Builder::bytes_of(const TensorSpec& spec) const {
  return std::llround(local_rows(spec) * static_cast<double>(local_width(spec) * spec.element_bytes));
}

Bytes Builder::whole_bytes(const TensorSpec& spec) const {
  return Bytes(std::llround(spec.rows * static_cast<double>(spec.width * spec.element_bytes)));
}

std::int64_t Builder::local_bytes(TensorId id) const {
  return bytes_of(at(id).spec);
}

std::int16_t Builder::push(OpList& list, Op op, const OpRefs& after) {
  std::size_t slot = 0;
  for (const std::int16_t index : after) {
    if (index < 0 || list[static_cast<std::size_t>(index)].stream == op.stream) continue;
    TW_CHECK(slot < op.after.size());
    op.after[slot++] = index;
  }
  list.push_back(std::move(op));
  return static_cast<std::int16_t>(list.size() - 1);
}

TensorId Builder::record(Node node, const TensorSpec& out) {
  if (node.module == Module::other) node.module = module_;
  const TensorId id{static_cast<std::int32_t>(tensors_.size())};
  node.output = id;
  Tensor tensor;
  tensor.spec = out;
  tensor.producer = static_cast<std::int32_t>(nodes_.size());
  tensors_.push_back(std::move(tensor));
  nodes_.push_back(std::move(node));
  if (!input_.bytes_only) at(id).ready = forward_ops(nodes_.back(), work_.forward, false);
  return id;
}

TensorId Builder::source(const TensorSpec& spec) {
  Node node;
  node.name = spec.name;
  return record(std::move(node), spec);
}

TensorId Builder::norm(std::string_view name, TensorId x, Module module, std::int64_t width) {
  const TensorSpec in = at(x).spec;
  const std::int64_t vectors = model().norm == NormKind::layer ? 2 : 1;
  const std::int64_t elements = vectors * (width == 0 ? in.width : width);
  weight({name, elements, elements, Scope::attention, cuts_rows(in.place), false});
  const double bytes = static_cast<double>(bytes_of(in));
  // Fused into the addition before it, a norm only writes; its backward reads the other gradient too.
  const Node* before = producer_of(x);
  const bool after_add = kernels().fused_add_norm && before && before->kind == Kind::add;
  PointwiseSpec spec{
      .name = name, .out = in, .forward_bytes = (after_add ? 1 : 2) * bytes, .backward_bytes = 3 * bytes};
  spec.out.name = name;
  spec.keeps_input = true;
  if (!kernels().fused_norm) {
    // One kernel per operator in fp32, in passes of bf16. Forward: cast up (1 + 2), square (2 + 2), mean (2),
    // scale (2 + 2), cast down (2 + 1), weight (1 + 1): 18. Backward: gradients of scaled x (1 + 1) and
    // weight (2 + 1 + 1), cast up (1 + 2), of x (2 + 2) and its scale (4 + 2 + 2), mean (2), square (2 + 2
    // and 4 + 2), sum (4 + 2), cast down (2 + 1): 42. Kept: x in fp32 and the scaled x in bf16, less x
    // itself.
    spec.forward_bytes = 18 * bytes, spec.backward_bytes = 42 * bytes, spec.launches = 10;
    spec.kept_bytes = std::llround(2 * bytes);
  }
  spec.module = module;
  return pointwise(spec, {x});
}

TensorId Builder::linear(const LinearSpec& spec, TensorId x) {
  const TensorSpec in = at(x).spec;
  const Scope scope = in.scope;
  TW_CHECK(spec.split != Split::column || in.place == kWhole);
  TW_CHECK(spec.split != Split::row || cuts_features(in.place));
  const std::int64_t experts = std::max<std::int64_t>(spec.groups, 1);
  const std::int64_t here = std::max<std::int64_t>(spec.groups_local, 1);
  const std::int64_t parts = spec.split == Split::replicated ? 1 : ranks(scope);
  if (!spec.tied) {
    const std::int64_t counted = spec.counted_out > 0 ? spec.counted_out : spec.out;
    const std::int64_t bias = spec.bias ? 1 : 0;
    const std::int64_t local_out = spec.split == Split::column ? (spec.out + parts - 1) / parts : spec.out;
    const std::int64_t local_in = spec.split == Split::row ? (in.width + parts - 1) / parts : in.width;
    weight({spec.name, experts * counted * (in.width + bias), here * local_out * (local_in + bias), scope,
            spec.split == Split::replicated && cuts_rows(in.place), false});
  }
  Node node;
  node.kind = Kind::linear;
  node.name = spec.name;
  node.module = spec.module;
  node.term = spec.term;
  node.inputs = {x};
  node.needs = {x};
  node.linear = spec;
  TensorSpec out = in;
  out.name = spec.name;
  out.width = spec.out;
  out.element_bytes = 2;
  if (spec.split == Split::column) out.place = cut(spec.axis);
  if (spec.split == Split::row) out.place = kPartial;
  if (ranks(scope) == 1 && spec.split != Split::replicated)
    out.place = spec.split == Split::row ? kWhole : out.place;
  return record(std::move(node), out);
}

TensorId Builder::pointwise(const PointwiseSpec& spec, const Tensors& inputs) {
  Node node;
  node.kind = Kind::pointwise;
  node.name = spec.name;
  node.module = spec.module;
  node.term = spec.term;
  if (spec.keeps_input) node.needs = inputs;
  node.inputs = inputs;
  node.pointwise = spec;
  const TensorId out = record(std::move(node), spec.out);
  if (spec.keeps_output) nodes_.back().needs.push_back(out);
  return out;
}

TensorId Builder::attention(const AttentionSpec& spec, const Tensors& qkv) {
  Node node;
  node.kind = Kind::attention;
  node.name = spec.name;
  node.module = Module::core;
  node.term = Term::attention;
  node.needs = qkv;
  node.inputs = qkv;
  node.attention = spec;
  const TensorId out = record(std::move(node), spec.out);
  nodes_.back().needs.push_back(out);
  return out;
}

TensorId Builder::require(TensorId x, Placement need) {
  TensorSpec spec = at(x).spec;
  if (ranks(spec.scope) == 1) {
    at(x).spec.place = need.kind == Placement::Kind::whole ? kWhole : at(x).spec.place;
    return x;
  }
  const auto found = conversion(spec.place, need);
  TW_CHECK(found.has_value());
  if (*found == Conversion::none) return x;
  Node node;
  node.kind = Kind::conversion;
  node.name = spec.name;
  node.term = spec.scope == Scope::attention ? Term::tp : Term::ep;
  node.inputs = {x};
  node.conversion = *found;
  spec.place = need;
  return record(std::move(node), spec);
}

TensorId Builder::exchange(std::string_view name, TensorId x, const TensorSpec& out, const Work& work,
                           Term term) {
  Node node;
  node.kind = Kind::exchange;
  node.name = name;
  node.term = term;
  node.inputs = {x};
  node.exchange = work;
  return record(std::move(node), out);
}

TensorId Builder::add(TensorId residual, TensorId x, bool dropout) {
  Node node;
  node.kind = Kind::add;
  node.name = "add";
  node.inputs = {residual, x};
  TensorSpec out = at(residual).spec;
  // One byte of mask per element (Korthikanti et al. 2022, section 4.1).
  if (dropout) node.pointwise.kept_bytes = bytes_of(out) / out.element_bytes;
  return record(std::move(node), out);
}

void Builder::host_sync(std::string_view name) {
  if (input_.bytes_only) return;
  Op op;
  op.name = name;
  op.work = Synchronise{};
  op.term = Term::host;
  op.launches = 0;
  push(work_.forward, op, {});
}

LayerWork Builder::finish(TensorId output) {
  mark_recomputed();
  mark_kept();
  measure();
  if (input_.bytes_only) return std::move(work_);
  const OpRefs& last = at(output).ready.before;
  work_.forward_output = last.empty() ? std::int16_t{-1} : last.back();
  hand_gradient(output, {}, gradient_of(at(output).spec.place));
  for (std::size_t i = nodes_.size(); i-- > 0;) backward_ops(nodes_[i]);
  for (const Node& node : nodes_) {
    if (node.kind != Kind::source) continue;
    const OpRefs& first = at(node.output).gradient.ready.before;
    if (!first.empty()) work_.backward_output = first.back();
  }
  return std::move(work_);
}

}  // namespace tw
