#include "train/engine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "topology/check.hpp"
#include "topology/json.hpp"

namespace tw::train {
namespace {

const char* unknown_in(const LayerKind& kind) {
  if (kind.mamba) return "Mamba-2 layers";
  const Attention& a = kind.attention;
  if (a.kind == AttentionKind::none || (!kind.mlp && !kind.moe))
    return "layers of a mixer or a feed-forward alone";
  if (a.kind == AttentionKind::latent) return "latent attention";
  if (a.qkv_bias || a.out_bias) return "biases of attention";
  if (a.qk_norm == QkNorm::full) return "a norm over all heads together";
  if (a.sinks) return "attention sinks";
  if (a.window > 0) return "a sliding window";
  if (a.value_dim != a.head_dim) return "values of another width than queries";
  if (kind.mlp && !kind.mlp->gated) return "a feed-forward without a gate";
  if (kind.mlp && kind.mlp->bias) return "biases of the feed-forward";
  if (!kind.moe) return nullptr;
  if (!kind.moe->gated) return "experts without a gate";
  if (kind.moe->bias || kind.moe->router_bias) return "biases of experts or their router";
  if (kind.moe->shared_gate) return "a gate of the shared expert";
  return kind.moe->groups > 1 ? "routing limited to nodes" : nullptr;
}

}  // namespace

void refuse(const Model& model) {
  const char* what = nullptr;
  if (model.norm != NormKind::rms) what = "LayerNorm";
  if (model.mtp_layers > 0) what = "multi-token prediction";
  for (const LayerKind& kind : model.kinds) what = what ? what : unknown_in(kind);
  if (!what && model.positions != Positions::rotary) what = "positions other than rotary";
  if (what)
    throw InputError(model.name, "model", fmt::format("{}: the trainer has no operator for it", what));
}

template <class T>
TensorEngine<T>::TensorEngine(const View& view, Messages& messages, const Settings& settings,
                              const Data& data)
    : view_(view), messages_(messages), operations_(view, messages, settings, data) {
  refuse(view.model());
}

template <class T>
void TensorEngine<T>::begin_step() {
  operations_.losses = {};
  for (std::size_t i = 0; i < view_.units().size(); ++i)
    operations_.state(static_cast<std::int32_t>(i)).begin_step();
}

template <class T>
void TensorEngine<T>::end_step() {
  messages_.finish_sends();
  ++operations_.step;
}

template <class T>
void TensorEngine<T>::op(const Step&, Call& call) {
  operations_.run(call);
}

// One tag for each value that crosses a boundary between chunks.
template <class T>
std::int32_t TensorEngine<T>::tag(const Step& step, std::int32_t boundary) const {
  const std::int32_t kBoundaries = 512;
  TW_CHECK(boundary >= 0 && boundary < kBoundaries);
  return (step.microbatch * kBoundaries + boundary) % (1 << 18) * 2 + (step.backward ? 1 : 0);
}

template <class T>
void TensorEngine<T>::send(const Step& step, const Value& value, std::int32_t boundary) {
  const Rank to = view_.program().peer(view_.rank(), step.peer);
  messages_.send(to, tag(step, boundary), value->data.data(),
                 static_cast<std::int64_t>(value->data.size() * sizeof(T)));
}

// Boundary values have the rows and the width of a layer's input.
template <class T>
typename TensorEngine<T>::Value TensorEngine<T>::receive(const Step& step, std::int32_t boundary) {
  const Unit* unit = nullptr;
  for (const Unit& each : view_.units()) {
    if (each.work->operands.input >= 0) unit = &each;
  }
  TW_CHECK(unit != nullptr);
  const LayerOperands& operands = unit->work->operands;
  const tw::Value& like = operands.values[static_cast<std::size_t>(operands.input)];
  Value out = elements<T>(std::llround(like.rows), like.width);
  messages_.receive(view_.program().peer(view_.rank(), step.peer), tag(step, boundary), out->data.data(),
                    static_cast<std::int64_t>(out->data.size() * sizeof(T)));
  return out;
}

template <class T>
void TensorEngine<T>::act(const Step& step) {
  switch (step.action) {
    case Action::gather:
      return operations_.state(step.unit).gather(messages_);
    case Action::release:
      return operations_.state(step.unit).release();
    case Action::reduce:
      return operations_.state(step.unit).reduce(messages_);
    case Action::sum_shared:
      return operations_.state(step.unit).sum_shared(messages_);
    case Action::sum_copies:
      return sum_copies(step.unit);
    case Action::clip:
      return clip();
    case Action::update:
      return operations_.state(step.unit).update(operations_.settings(), scale_, operations_.step + 1);
    default:
      TW_CHECK(false);
  }
}

// Copies on this stage are summed here, then over the stages, each of which comes by once.
template <class T>
void TensorEngine<T>::sum_copies(std::int32_t unit) {
  std::vector<std::int32_t> here;
  std::vector<Rank> ranks;
  for (const Program::Copy& copy : view_.program().copies(view_.stage(), unit)) {
    const Rank rank = view_.program().peer(view_.rank(), copy.stage);
    if (std::find(ranks.begin(), ranks.end(), rank) == ranks.end()) ranks.push_back(rank);
    if (copy.stage == view_.stage()) here.push_back(copy.unit);
  }
  if (here.front() != unit) return;
  UnitState<T>& first = operations_.state(unit);
  for (const std::int32_t other : here) {
    if (other != unit) first.add_reduced(operations_.state(other));
  }
  if (ranks.size() > 1) first.sum_copies(messages_, ranks);
  for (const std::int32_t other : here) {
    if (other != unit) operations_.state(other).take_reduced(first);
  }
}

template <class T>
void TensorEngine<T>::clip() {
  double sums[] = {0, operations_.losses.tokens, operations_.losses.balance};
  for (std::int32_t unit = 0; unit < static_cast<std::int32_t>(view_.units().size()); ++unit) {
    if (view_.program().copies(view_.stage(), unit).front() == Program::Copy{view_.stage(), unit})
      sums[0] += operations_.state(unit).sum_of_squares();
  }
  messages_.all_reduce(view_.world(), sums, 3);
  norm_ = std::sqrt(sums[0]);
  total_ = {sums[1], sums[2]};
  const double limit = operations_.settings().clip;
  scale_ = limit > 0 && norm_ > limit ? limit / norm_ : 1.0;
}

template <class T>
std::vector<double> TensorEngine<T>::collect(Field field, const NamedWeight& weight) {
  std::vector<double> whole(static_cast<std::size_t>(weight.elements), 0.0);
  for (std::int32_t unit = 0; unit < static_cast<std::int32_t>(view_.units().size()); ++unit) {
    if (!(view_.program().copies(view_.stage(), unit).front() == Program::Copy{view_.stage(), unit}))
      continue;
    const UnitState<T>& state = operations_.state(unit);
    for (std::size_t i = 0; i < state.flat().where.size(); ++i) {
      if (state.flat().weight(i).id == weight.id) state.put(field, i, whole);
    }
  }
  messages_.all_reduce(view_.world(), whole.data(), weight.elements);
  return whole;
}

template <class T>
void TensorEngine<T>::restore(Field field, const NamedWeight& weight, std::span<const double> whole) {
  for (std::int32_t unit = 0; unit < static_cast<std::int32_t>(view_.units().size()); ++unit) {
    UnitState<T>& state = operations_.state(unit);
    for (std::size_t i = 0; i < state.flat().where.size(); ++i) {
      if (state.flat().weight(i).id == weight.id) state.take(field, i, whole);
    }
  }
}

template <class T>
void TensorEngine<T>::refresh() {
  for (std::int32_t unit = 0; unit < static_cast<std::int32_t>(view_.units().size()); ++unit)
    operations_.state(unit).refresh();
}

template class TensorEngine<double>;
template class TensorEngine<float>;
template class TensorEngine<bf16>;

}  // namespace tw::train
