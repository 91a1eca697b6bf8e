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

std::int64_t rows_of(const Widths& parts, std::size_t i, std::int64_t counted, std::int64_t out) {
  // Of [q | k | v], what is not counted is k and v, alike.
  const bool repeated = parts.size() == 3 && counted < out && i > 0;
  return repeated ? (counted - parts[0]) / 2 : parts[i];
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
  if (spec.at_once > 0) return 0;
  return std::llround(local_rows(spec) * static_cast<double>(local_width(spec) * spec.element_bytes));
}

Bytes Builder::whole_bytes(const TensorSpec& spec) const {
  return Bytes(std::llround(spec.rows * static_cast<double>(spec.width * spec.element_bytes)));
}

std::int64_t Builder::local_bytes(TensorId id) const {
  return bytes_of(at(id).spec);
}

std::int16_t Builder::push(OpList& list, Op op, const OpRefs& after, const Operands& operands) {
  std::size_t slot = 0;
  for (const std::int16_t index : after) {
    if (index < 0 || list[static_cast<std::size_t>(index)].stream == op.stream) continue;
    TW_CHECK(slot < op.after.size());
    op.after[slot++] = index;
  }
  list.push_back(std::move(op));
  if (input_.operands) {
    const bool forward = &list == &work_.forward;
    (forward ? work_.operands.forward : work_.operands.backward).push_back(operands);
  }
  return static_cast<std::int16_t>(list.size() - 1);
}

std::int16_t Builder::new_value(const TensorSpec& spec, bool gradient) {
  if (!input_.operands) return -1;
  Value value{.name = spec.name,
              .rows = local_rows(spec),
              .width = local_width(spec),
              .element_bytes = spec.element_bytes,
              .routed = spec.routed,
              .gradient = gradient,
              .at_once = spec.at_once};
  work_.operands.values.push_back(value);
  return static_cast<std::int16_t>(work_.operands.values.size() - 1);
}

std::int16_t Builder::new_bytes(std::string_view name, std::int64_t bytes, bool gradient) {
  if (!input_.operands) return -1;
  work_.operands.values.push_back(
      {.name = name, .rows = 1, .width = bytes, .element_bytes = 1, .gradient = gradient});
  return static_cast<std::int16_t>(work_.operands.values.size() - 1);
}

// An operation that the closed form prices as nothing: a slice, a sum of a few counts.
std::int16_t Builder::free_op(OpList& list, std::string_view name, Stream stream, const Operands& operands,
                              Term term) {
  if (!input_.operands) return -1;
  Op op;
  op.name = name;
  op.work = Elementwise{Bytes(0)};
  op.term = term;
  op.stream = stream;
  op.launches = 0;
  return push(list, op, {}, operands);
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
  if (input_.bytes_only) return id;
  at(id).ready = forward_ops(nodes_.back(), work_.forward, false);
  at(id).value = at(id).ready.value;
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
  Weight scale{name, elements, elements, Scope::attention, cuts_rows(in.place), false};
  scale.rows = {{vectors, vectors, 1}};
  scale.columns = scale.local_columns = elements / vectors;
  const double bytes = static_cast<double>(bytes_of(in));
  // Fused into the addition before it, a norm only writes; its backward reads the other gradient too.
  const Node* before = producer_of(x);
  const bool after_add = kernels().fused_add_norm && before && before->kind == Kind::add;
  PointwiseSpec spec{.name = name,
                     .what = Operator::norm,
                     .out = in,
                     .forward_bytes = (after_add ? 1 : 2) * bytes,
                     .backward_bytes = 3 * bytes};
  spec.weight = weight(scale);
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

// Blocks of rows of a weight cut by columns of its output: [q | k | v], [gate | up] or one. KV heads
// that are fewer than ranks are held by several.
SmallList<RowBlock, 3> Builder::row_blocks(const LinearSpec& spec, std::int64_t counted) const {
  const std::int64_t parts = ranks(spec.groups > 0 ? Scope::expert : Scope::attention);
  SmallList<RowBlock, 3> blocks;
  if (spec.parts.empty()) {
    const std::int64_t rows = spec.out / spec.stacked, distinct = counted / spec.stacked;
    for (std::int64_t i = 0; i < spec.stacked; ++i)
      blocks.push_back({distinct, (rows + parts - 1) / parts, 1, parts > 1});
    return blocks;
  }
  for (std::size_t i = 0; i < spec.parts.size(); ++i) {
    const std::int64_t distinct = rows_of(spec.parts, i, counted, spec.out);
    blocks.push_back({distinct, spec.parts[i] / parts, spec.parts[i] / distinct, parts > 1});
  }
  return blocks;
}

// Linears of a layer that may run in low precision are those that take an adapter: not router and head.
TensorId Builder::linear(const LinearSpec& spec, TensorId x) {
  if (!adapts(input_.training)) return plain_linear(spec, x);
  LinearSpec frozen = spec;
  frozen.frozen = true;
  const bool expert = spec.groups > 0;
  const bool bare = !spec.low_precision || (expert && *input_.training.lora->expert_rank == 0);
  return bare ? plain_linear(frozen, x) : adapted_linear(frozen, x);
}

// Autocast: every linear reads its input and its weight in fp32 and casts them to bf16: 4 + 2.
TensorId Builder::cast_for(const LinearSpec& spec, TensorId x) {
  if (!*input_.profile->state.autocast || spec.adapter) return x;
  TensorSpec cast = at(x).spec;
  const auto parts = static_cast<std::int64_t>(std::max<std::size_t>(spec.parts.size(), 1));
  const std::int64_t rows = at(x).spec.element_bytes == 2 ? 0 : bytes_of(cast) / 4 * parts;
  cast.name = "autocast", cast.element_bytes = 2;
  const std::int64_t weights = std::max<std::int64_t>(spec.groups_local, 1) * spec.out * local_width(cast);
  return pointwise({.name = "autocast",
                    .out = cast,
                    .forward_bytes = static_cast<double>(6 * (rows + weights)),
                    .backward_bytes = static_cast<double>(6 * (rows + weights)),
                    .launches = static_cast<std::int16_t>(2 * parts)},
                   {x});
}

TensorId Builder::plain_linear(const LinearSpec& spec, TensorId x) {
  x = cast_for(spec, x);
  const TensorSpec in = at(x).spec;
  const Scope scope = in.scope;
  TW_CHECK(spec.split != Split::column || in.place == kWhole);
  TW_CHECK(spec.split != Split::row || cuts_features(in.place));
  const std::int64_t experts = std::max<std::int64_t>(spec.groups, 1);
  const std::int64_t here = std::max<std::int64_t>(spec.groups_local, 1);
  const std::int64_t parts = spec.split == Split::replicated ? 1 : ranks(scope);
  std::int16_t index = -1;
  if (!spec.tied) {
    const std::int64_t counted = spec.counted_out > 0 ? spec.counted_out : spec.out;
    const std::int64_t bias = spec.bias ? 1 : 0;
    const std::int64_t local_out = spec.split == Split::column ? (spec.out + parts - 1) / parts : spec.out;
    const std::int64_t local_in = spec.split == Split::row ? (in.width + parts - 1) / parts : in.width;
    const std::int64_t all_in = spec.depth > 0 ? spec.depth : in.width;
    const std::int64_t own_in = spec.depth > 0 ? spec.depth : local_in;
    Weight w{spec.name,
             experts * counted * (all_in + bias),
             here * local_out * (own_in + bias),
             scope,
             spec.split == Split::replicated && cuts_rows(in.place),
             false};
    w.groups = experts, w.local_groups = here;
    w.columns = all_in, w.local_columns = own_in;
    w.rows = row_blocks(spec, counted);
    if (spec.split != Split::column) {
      for (RowBlock& block : w.rows) block = {block.distinct, block.distinct};
    }
    w.frozen = spec.frozen;
    index = declare(w);
  }
  Node node;
  node.weight = index;
  node.kind = Kind::linear;
  node.name = spec.name;
  node.module = spec.module;
  node.term = spec.term;
  node.inputs = {x};
  if (!spec.frozen) node.needs = {x};
  node.linear = spec;
  TensorSpec out = in;
  out.name = spec.name;
  out.width = spec.out;
  out.at_once = spec.at_once;
  out.element_bytes = spec.adapter ? size_of(*input_.training.lora->math) : 2;
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
  const bool looped = spec.out.scope == Scope::expert && !kernels().grouped_gemm && model().moe();
  if (looped) {  // one expert after another
    const std::int32_t local = model().moe()->experts / input_.key.ep;
    node.pointwise.launches = static_cast<std::int16_t>(spec.launches * local);
  }
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

TensorId Builder::kernels_of(std::string_view name, TensorId x, const TensorSpec& out, OpList forward,
                             OpList backward) {
  Node node;
  node.kind = Kind::listed;
  node.name = name;
  node.inputs = {x};
  node.listed = static_cast<std::int16_t>(listed_.size());
  listed_.push_back({std::move(forward), std::move(backward)});
  return record(std::move(node), out);
}

TensorId Builder::exchange(const ExchangeSpec& spec, TensorId x) {
  Node node;
  node.kind = Kind::exchange;
  node.name = spec.name;
  node.term = spec.term;
  node.inputs = {x};
  node.exchange = spec;
  return record(std::move(node), spec.out);
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

void Builder::host_sync(std::string_view name, std::int32_t times) {
  if (input_.bytes_only) return;
  Op op;
  op.name = name;
  op.work = Synchronise{};
  op.term = Term::host;
  op.launches = 0;
  op.share = times;
  push(work_.forward, op, {}, {.what = Operator::wait});
  if (times > 1 && input_.key.recompute.full)  // the forward again
    push(work_.backward, op, {}, {.what = Operator::wait, .half = Half::backward});
}

LayerWork Builder::finish(TensorId output) {
  mark_recomputed();
  mark_kept();
  measure();
  if (input_.bytes_only) return std::move(work_);
  const OpRefs& last = at(output).ready.before;
  work_.forward_output = last.empty() ? std::int16_t{-1} : last.back();
  LayerOperands& operands = work_.operands;
  operands.output = value_of(output);
  operands.output_gradient = new_value(at(output).spec, true);
  hand_gradient(output, {{}, -1, operands.output_gradient}, gradient_of(at(output).spec.place));
  for (std::size_t i = nodes_.size(); i-- > 0;) backward_ops(nodes_[i]);
  for (const Node& node : nodes_) {
    if (node.kind != Kind::source) continue;
    const OpRefs& first = at(node.output).gradient.ready.before;
    if (!first.empty()) work_.backward_output = first.back();
    operands.input = at(node.output).value;
    operands.input_gradient = at(node.output).gradient.ready.value;
  }
  return std::move(work_);
}

}  // namespace tw
