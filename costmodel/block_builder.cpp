#include "costmodel/blocks/builder.hpp"

#include <algorithm>
#include <cmath>

#include "topology/check.hpp"

namespace tw {
namespace {

bool cuts_rows(Placement place) {
  return place.kind == Placement::Kind::cut && (place.axis == AxisName::seq || place.axis == AxisName::batch);
}

bool cuts_features(Placement place) { return place.kind == Placement::Kind::cut && !cuts_rows(place); }

Collective collective_of(Conversion conversion) {
  switch (conversion) {
    case Conversion::all_gather: return Collective::all_gather;
    case Conversion::all_reduce: return Collective::all_reduce;
    case Conversion::reduce_scatter: return Collective::reduce_scatter;
    default: return Collective::all_to_all;
  }
}

}  // namespace

Builder::Builder(const EmitInput& input)
    : input_(input), tokens_(static_cast<double>(input.key.mb) * input.seq / input.key.cp) {
  constexpr std::size_t kUsualNodes = 48;
  tensors_.reserve(kUsualNodes), nodes_.reserve(kUsualNodes);
}

Placement Builder::residual() const { return input_.key.sp ? cut(AxisName::seq) : kWhole; }

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

std::int64_t Builder::local_bytes(TensorId id) const { return bytes_of(at(id).spec); }

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
  PointwiseSpec spec{.name = name, .out = in, .forward_bytes = 2 * bytes, .backward_bytes = 3 * bytes};
  spec.out.name = name;
  spec.keeps_input = true;
  if (!kernels().fused_norm) {
    // Unfused: cast up, square-mean, scale, weight, cast down: each reads and writes (PyTorch eager).
    spec.forward_bytes *= 3, spec.backward_bytes *= 3, spec.launches = 5;
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
  if (ranks(scope) == 1 && spec.split != Split::replicated) out.place = spec.split == Split::row ? kWhole : out.place;
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

TensorId Builder::exchange(std::string_view name, TensorId x, const TensorSpec& out, const Work& work, Term term) {
  Node node;
  node.kind = Kind::exchange;
  node.name = name;
  node.term = term;
  node.inputs = {x};
  node.exchange = work;
  return record(std::move(node), out);
}

TensorId Builder::add(TensorId residual, TensorId x) {
  Node node;
  node.kind = Kind::add;
  node.name = "add";
  node.inputs = {residual, x};
  TensorSpec out = at(residual).spec;
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

// What keeps a recomputed module's output from being stored: these modules discard it and make it
// again before its reader's backward (Megatron-Core, output-discarding checkpoint); core, attention
// and mlp are ordinary checkpoints, whose output stays if a reader needs it.
bool Builder::discards_output(Module module) const {
  return input_.key.recompute.full || module == Module::norm || module == Module::moe_act || module == Module::mla_up;
}

bool Builder::module_recomputed(Module module) const {
  const Recompute& chosen = input_.key.recompute;
  if (chosen.full) return true;
  const auto has = [&](std::uint8_t mask) { return (chosen.modules & mask) != 0; };
  switch (module) {
    case Module::core: return has(Recompute::core | Recompute::attention);
    case Module::attention: return has(Recompute::attention);
    case Module::mla_up: return has(Recompute::mla_up | Recompute::attention);
    case Module::mlp: return has(Recompute::mlp);
    case Module::moe_act: return has(Recompute::moe_act | Recompute::mlp);
    case Module::norm: return has(Recompute::norm);
    case Module::other: return false;
  }
  return false;
}

void Builder::mark_recomputed() {
  for (Node& node : nodes_) {
    if (node.kind == Kind::source || node.kind == Kind::add) continue;
    node.recomputed = module_recomputed(node.module);
  }
  if (!input_.key.recompute.full) return;
  for (Node& node : nodes_) node.recomputed = node.kind != Kind::source;
}

// The tensor that is kept in place of `id`: a gathered or sliced one is made again from its source.
TensorId Builder::stored(TensorId id) const {
  const Node* producer = producer_of(id);
  if (!producer || producer->kind != Kind::conversion) return id;
  const bool gathered = producer->conversion == Conversion::all_gather && kernels().regather_input;
  return gathered || producer->conversion == Conversion::slice ? stored(producer->inputs[0]) : id;
}

void Builder::keep(TensorId id) {
  id = stored(id);
  const Node* producer = producer_of(id);
  if (producer && producer->recomputed && discards_output(producer->module)) return;
  at(id).kept = true;
}

void Builder::mark_kept() {
  for (const Node& node : nodes_) {
    if (!node.recomputed) {
      for (const TensorId id : node.needs) keep(id);
      continue;
    }
    for (const TensorId id : node.inputs) {
      const Node* producer = producer_of(id);
      if (!producer || !producer->recomputed) keep(id);
    }
  }
}

void Builder::measure() {
  for (const Tensor& tensor : tensors_) {
    if (tensor.kept) work_.kept_bytes += bytes_of(tensor.spec);
  }
  std::vector<bool> counted(tensors_.size());
  for (const Node& node : nodes_) {
    std::int64_t set = 2 * local_bytes(node.output);  // value and gradient
    for (const TensorId id : node.inputs) set += 2 * local_bytes(id);
    work_.widest_bytes = std::max(work_.widest_bytes, set);
    if (node.kind == Kind::attention && !node.recomputed) work_.kept_bytes += node.attention.statistics.count;
    if (!node.recomputed) continue;
    if (node.kind == Kind::attention) work_.recomputed_bytes += node.attention.statistics.count;
    for (TensorId id : node.needs) {
      id = stored(id);
      if (at(id).kept || counted[static_cast<std::size_t>(id.index)] || !producer_of(id)->recomputed) continue;
      counted[static_cast<std::size_t>(id.index)] = true;
      work_.recomputed_bytes += local_bytes(id);
    }
  }
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

// Forward ops ------------------------------------------------------------------------------------

Builder::Ready Builder::convert(OpList& list, const TensorSpec& spec, Conversion conversion, const Ready& after,
                                Term term) {
  if (conversion == Conversion::none || conversion == Conversion::slice) return after;
  Op op;
  op.name = spec.name;
  op.work = CollectiveWork{collective_of(conversion), group(spec.scope), whole_bytes(spec)};
  op.term = term;
  op.stream = Stream::network;
  OpRefs before = after.before;
  if (after.during >= 0) before.push_back(after.during);
  const bool piped = kernels().tp_overlap && term == Term::tp && conversion != Conversion::all_reduce;
  if (!piped) return {{push(list, op, before)}, -1};
  const double first = 1.0 / ranks(spec.scope);
  if (conversion == Conversion::all_gather) {
    op.share = first;
    const std::int16_t head = push(list, op, before);
    op.share = 1 - first;
    return {{head}, push(list, op, {})};
  }
  // A reduce-scatter runs under the GEMM that makes its input, one op earlier; the last part follows.
  const std::int16_t maker = before.empty() ? std::int16_t{-1} : before.front();
  op.share = 1 - first;
  push(list, op, {static_cast<std::int16_t>(maker - 1)});
  op.share = first;
  return {{push(list, op, before)}, -1};
}

Op Builder::linear_op(const Node& node, GemmPass pass) const {
  const TensorSpec& in = at(node.inputs[0]).spec;
  const TensorSpec& out = at(node.output).spec;
  const LinearSpec& spec = node.linear;
  const std::int64_t k = spec.split == Split::row ? local_width(in) : in.width;
  const std::int64_t n = spec.split == Split::column ? local_width(out) : out.width;
  const bool accumulates = pass == GemmPass::wgrad && input_.profile->state.fused_wgrad;
  Op op;
  op.name = spec.name;
  op.term = node.term;
  op.module = node.module;
  op.low_precision = spec.low_precision;
  op.weight_half = pass == GemmPass::wgrad;
  const double rows = local_rows(in);
  if (spec.groups == 0) {
    op.work = GemmShape{std::llround(std::ceil(rows)), n, k, pass, accumulates};
    return op;
  }
  const double groups = static_cast<double>(spec.groups_local);
  op.work = GroupedGemmShape{spec.groups_local, rows / groups, input_.routing.max_over_mean, n, k, pass, accumulates};
  if (!kernels().grouped_gemm) op.launches = static_cast<std::int16_t>(spec.groups_local);
  return op;
}

// Ring attention (Liu et al. 2023, arXiv 2310.01889): each hop travels beside a block, and the last
// block needs the last hop: max(blocks - 1, hops) + 1 block, forward. Backward, the gradients of K and
// V travel one block behind, so that what follows waits for the ring.
Builder::Ready Builder::attention_ops(const Node& node, OpList& list, const Ready& after, bool backward,
                                      Term term) const {
  const AttentionSpec& spec = node.attention;
  Op op;
  op.name = spec.name;
  op.module = Module::core;
  op.term = term;
  AttentionShape shape = spec.shape;
  shape.backward = backward;
  op.work = shape;
  if (backward) op.launches = 2;  // the sum of dO*O, then the gradients
  std::int16_t ring = -1;
  if (spec.ring_hops > 0) {
    Op hop;
    hop.name = spec.name;
    hop.term = Term::cp;
    hop.stream = Stream::network;
    hop.work = RingWork{attention_group(bit(Dim::cp)), spec.hop * (backward ? 2 : 1), spec.ring_hops};
    hop.launches = static_cast<std::int16_t>(spec.ring_hops);
    ring = push(list, hop, after.before);
  }
  if (ring < 0) return {{push(list, op, after.before)}, -1};
  Op others = op;
  others.share = spec.ring_hops;
  others.launches = static_cast<std::int16_t>(op.launches * spec.ring_hops);
  push(list, others, after.before);
  if (!backward) return {{push(list, op, {ring})}, -1};
  return {{push(list, op, {}), ring}, -1};
}

Builder::Ready Builder::forward_ops(const Node& node, OpList& list, bool replay) {
  OpRefs before;
  std::int16_t during = -1;
  for (const TensorId id : node.inputs) {
    const Ready& ready = at(id).ready;
    before.append(ready.before);
    during = std::max(during, ready.during);
  }
  Op op;
  op.name = node.name;
  op.term = replay ? Term::recompute : node.term;
  op.module = node.module;
  Ready ready{before, during};
  switch (node.kind) {
    case Kind::source: return {};
    case Kind::conversion:
      return convert(list, at(node.inputs[0]).spec, node.conversion, ready, node.term);
    case Kind::add:
      op.work = Elementwise{Bytes(3 * local_bytes(node.output))};
      break;
    case Kind::pointwise:
      if (node.pointwise.forward_bytes <= 0) return ready;
      op.work = Elementwise{Bytes(std::llround(node.pointwise.forward_bytes))};
      op.launches = node.pointwise.launches;
      break;
    case Kind::exchange:
      op.work = node.exchange;
      op.term = node.term;
      op.stream = Stream::network;
      break;
    case Kind::attention: return attention_ops(node, list, ready, false, op.term);
    case Kind::linear: {
      const Term term = op.term;
      op = linear_op(node, GemmPass::forward);
      op.term = term;
      Ready made{{push(list, op, before)}, -1};
      if (during >= 0) made.before.push_back(during);
      return made;
    }
  }
  if (during >= 0) before.push_back(during);
  return {{push(list, op, before)}, -1};
}

// Backward ops -----------------------------------------------------------------------------------

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
    return convert(work_.backward, as, *found, from, spec.scope == Scope::attention ? Term::tp : Term::ep);
  };
  OpRefs both = settle(gradient.ready, gradient.place).before;
  for (const std::int16_t op : settle(ready, place).before) both.push_back(op);
  Op join;
  join.name = "join";
  join.term = Term::elementwise;
  join.work = Elementwise{Bytes(3 * local_bytes(to))};
  gradient = {{{push(work_.backward, join, both)}, -1}, goal, true};
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
  return convert(work_.backward, as, *found, out.gradient.ready,
                 out.spec.scope == Scope::attention ? Term::tp : Term::ep);
}

void Builder::replay_for(const Node& reader) {
  for (const TensorId need : reader.needs) {
    const Node* producer = producer_of(stored(need));
    if (!at(stored(need)).kept && producer && producer->recomputed && !producer->replayed) {
      replay(at(stored(need)).producer);
    }
  }
}

// Runs the forward of a recomputed node again: with the rest of its checkpoint, or alone where its
// module only discards outputs. What it reads from another checkpoint is made again first.
void Builder::replay(std::int32_t index) {
  const Module wanted = checkpoint(nodes_[static_cast<std::size_t>(index)].module);
  const bool alone = !input_.key.recompute.full && discards_output(wanted);
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    Node& node = nodes_[i];
    const bool chosen = alone ? static_cast<std::int32_t>(i) == index : checkpoint(node.module) == wanted;
    if (!node.recomputed || node.replayed || !chosen) continue;
    node.replayed = true;
    for (const TensorId id : node.inputs) make_ready(id);
    at(node.output).ready = forward_ops(node, work_.backward, true);
  }
}

// A tensor that a replay reads: made again, or there since the forward.
void Builder::make_ready(TensorId id) {
  const Node* producer = producer_of(id);
  if (producer && producer->recomputed && !producer->replayed) return replay(at(id).producer);
  if (!producer || !producer->replayed) at(id).ready = {};
}

// The checkpoint that a module is replayed with: attention holds its core and the up projections of
// latents, mlp the activation of experts; full is one of all.
Module Builder::checkpoint(Module module) const {
  const Recompute& chosen = input_.key.recompute;
  const bool in_attention = module == Module::core || module == Module::mla_up;
  if (chosen.full) return Module::other;
  if (in_attention && (chosen.modules & Recompute::attention) != 0) return Module::attention;
  if (module == Module::moe_act && (chosen.modules & Recompute::mlp) != 0) return Module::mlp;
  return module;
}

// With sequence parallelism the weight gradient reads its input gathered again, under the dgrad.
Builder::Ready Builder::regather(const Node& node) {
  const Node* producer = producer_of(node.inputs[0]);
  const bool again = kernels().regather_input && producer && producer->kind == Kind::conversion &&
                     producer->conversion == Conversion::all_gather;
  if (!again) return {};
  const auto last = static_cast<std::int16_t>(work_.backward.size()) - 1;
  Op op;
  op.name = at(node.inputs[0]).spec.name;
  op.work = CollectiveWork{Collective::all_gather, group(at(node.inputs[0]).spec.scope),
                           whole_bytes(at(node.inputs[0]).spec)};
  op.term = node.linear.groups > 0 ? Term::ep : Term::tp;
  op.stream = Stream::network;
  return {{push(work_.backward, op, {static_cast<std::int16_t>(last)})}, -1};
}

void Builder::linear_backward(const Node& node, const Ready& gradient) {
  const Ready again = regather(node);
  const std::int16_t dgrad = push(work_.backward, linear_op(node, GemmPass::dgrad), gradient.before);
  OpRefs before = again.before;
  if (gradient.during >= 0) before.push_back(gradient.during);
  push(work_.backward, linear_op(node, GemmPass::wgrad), before);
  const bool column = node.linear.split == Split::column;
  const Placement place = column ? kPartial : gradient_of(at(node.inputs[0]).spec.place);
  hand_gradient(node.inputs[0], {{dgrad}, -1}, place);
}

void Builder::backward_ops(Node& node) {
  if (node.kind == Kind::source || !at(node.output).gradient.exists) return;
  const bool checkpointed = input_.key.recompute.full || !discards_output(checkpoint(node.module));
  if (node.recomputed && !node.replayed && checkpointed) replay(static_cast<std::int32_t>(&node - nodes_.data()));
  replay_for(node);
  const TensorSpec& out = at(node.output).spec;
  if (node.kind == Kind::conversion) {
    const Gradient& gradient = at(node.output).gradient;
    const TensorSpec& in = at(node.inputs[0]).spec;
    const auto found = conversion(gradient.place, gradient_of(in.place));
    TW_CHECK(found.has_value());
    TensorSpec as = out;
    as.place = gradient.place;
    hand_gradient(node.inputs[0], convert(work_.backward, as, *found, gradient.ready, node.term), gradient_of(in.place));
    return;
  }
  if (node.kind == Kind::pointwise && node.pointwise.backward_bytes <= 0) {  // a view: the gradient passes as it is
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
  if (node.kind == Kind::add) {
    for (const TensorId id : node.inputs) hand_gradient(id, {before, -1}, gradient_of(at(id).spec.place));
    return;
  }
  Ready made;
  Op op;
  op.name = node.name;
  op.term = node.term;
  op.module = node.module;
  switch (node.kind) {
    case Kind::exchange:
      op.work = node.exchange;
      op.stream = Stream::network;
      made = {{push(work_.backward, op, before)}, -1};
      break;
    case Kind::attention: made = attention_ops(node, work_.backward, {before, -1}, true, node.term); break;
    default:
      op.work = Elementwise{Bytes(std::llround(node.pointwise.backward_bytes))};
      op.launches = node.pointwise.launches;
      made = {{push(work_.backward, op, before)}, -1};
  }
  for (const TensorId id : node.inputs) hand_gradient(id, made, moves ? arrives : gradient_of(at(id).spec.place));
}

}  // namespace tw
