// What an operation of a Program asks for, once for the operations of every device: which of their functions
// does it, and with which weight.
#pragma once

#include "costmodel/program/view.hpp"
#include "train/view.hpp"

namespace tw::train {

// `does` has a function for each operator, or for two that are one another's way back.
template <class Operations, class Call>
void perform(Operations& does, Call& call) {
  const bool back = call.backward();
  switch (call.io.what) {
    case Operator::norm:
      return does.norm(call);
    case Operator::head_norm:
      return does.head_norm(call);
    case Operator::rotate:
      return does.rotate(call);
    case Operator::linear:
      return does.linear(call);
    case Operator::activation:
      return does.activation(call);
    case Operator::attention:
      return does.attention(call);
    case Operator::ring:
      return does.ring(call);
    case Operator::ring_return:
      return does.ring_return(call);
    case Operator::add:
    case Operator::sum:
      return does.add(call);
    case Operator::convert:
      return does.convert(call);
    case Operator::spread_heads:
      return does.spread_heads(call, !back);
    case Operator::gather_heads:
      return does.spread_heads(call, back);
    case Operator::embed:
      return does.embed(call);
    case Operator::score:
      return does.score(call);
    case Operator::merge_scores:
      return does.merge_scores(call);
    case Operator::choose:
      return does.choose(call);
    case Operator::balance:
      return does.balance(call);
    case Operator::permute:
      return does.permute(call);
    case Operator::dispatch:
      return does.dispatch(call, !back);
    case Operator::combine:
      return does.dispatch(call, back);
    case Operator::sort:
      return does.sort(call, !back);
    case Operator::unsort:
      return does.sort(call, back);
    case Operator::unpermute:
      return does.unpermute(call);
    case Operator::wait:
      return;
  }
}

// Of the unit itself, or the table that it is tied to.
struct WeightUse {
  std::int32_t unit = 0;
  std::size_t index = 0;
  bool read = false, gradient = false;
};
WeightUse weight_use(const View& view, const Operands& io, std::int32_t unit);
// The table whose entries a head's logits are of.
WeightUse head_table(const View& view, const LayerWork& work, std::int32_t unit);

template <class Parameter, class Operations>
Parameter parameter_of(Operations& operations, const WeightUse& use) {
  auto& holder = operations.state(use.unit);
  return {use.read ? holder.weight(use.index) : nullptr, use.gradient ? holder.gradient(use.index) : nullptr,
          &holder.flat().weight(use.index)};
}

}  // namespace tw::train
