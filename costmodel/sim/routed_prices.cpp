#include "costmodel/sim/routed_prices.hpp"

#include <algorithm>
#include <cmath>

#include "costmodel/program/routing.hpp"
#include "costmodel/program/view.hpp"

namespace tw {
namespace {

constexpr std::int64_t kParts = 500;  // rows are priced in steps of such parts of the mean

}  // namespace

RoutedPrices::RoutedPrices(const Program& program, const StepContext& context, const Chain& chain,
                           const Routing& routing, SimPrices base)
    : program_(program),
      context_(context),
      chain_(chain),
      routing_(for_ranks(routing, context.job.model->moe(), chain.layout->ep)),
      base_(std::move(base)),
      pricer_(context.machine, chain.layout->precision) {
  const PassKey key = pass_key(*chain.layout);
  pricer_.set(key.dispatch, key.precision);
}

RoutedPrices::List RoutedPrices::list_of(const Unit& unit) const {
  if (unit.kind != Unit::Kind::layer) return {false, -1};
  const std::int32_t kind = context_.job.model->layer_kind[static_cast<std::size_t>(unit.layer)];
  const bool routes = context_.job.model->kinds[static_cast<std::size_t>(kind)].moe.has_value();
  return {program_.is_plain(unit), routes ? kind : -1};
}

const LayerWork& RoutedPrices::at(List list, std::int64_t parts) {
  const auto [found, made] = works_.try_emplace({list, parts});
  if (made) {
    PassKey key = pass_key(*chain_.layout);
    key.recompute.full_layers = 0;
    if (list.plain) key.recompute = {};
    EmitInput input{
        context_.job.model,   context_.machine.profile, key, context_.job.seq, routing_, false, false,
        context_.job.training};
    input.routing.likeness = 0;
    input.routing.max_over_mean =
        routing_.max_over_mean * static_cast<double>(parts) / static_cast<double>(kParts);
    found->second = emit_layer(input, context_.job.model->kinds[static_cast<std::size_t>(list.kind)]);
  }
  return found->second;
}

const Op& RoutedPrices::op(List list, const Step& step, std::int64_t parts) {
  const LayerWork& work = at(list, parts);
  return (step.backward ? work.backward : work.forward)[static_cast<std::size_t>(step.op)];
}

double RoutedPrices::price(List list, const Step& step, std::int64_t parts) {
  const auto [found, made] = prices_.try_emplace({list, step.backward, step.op, parts});
  if (made) found->second = pricer_.price(op(list, step, parts), chain_.pass->links).seconds;
  return found->second;
}

// What is another operation with twice the rows.
bool RoutedPrices::routed(const Step& step, std::int32_t stage) {
  if (step.action != Action::op) return false;
  const List list = list_of(program_.units(stage)[static_cast<std::size_t>(step.unit)]);
  if (list.kind < 0) return false;
  const auto [found, made] = routed_.try_emplace({list, step.backward, step.op});
  if (made) found->second = to_string(op(list, step, 2 * kParts)) != to_string(op(list, step, kParts));
  return found->second;
}

double RoutedPrices::seconds(const Step& step, std::int32_t stage, double rows) {
  if (rows <= 0) return 0;
  const List list = list_of(program_.units(stage)[static_cast<std::size_t>(step.unit)]);
  const std::int64_t parts = std::max<std::int64_t>(1, std::llround(rows * static_cast<double>(kParts)));
  const double base = base_.of(step, stage).seconds;
  return parts == kParts ? base : base * price(list, step, parts) / price(list, step, kParts);
}

double RoutedPrices::exchange_seconds(const Step& step, std::int32_t stage, const TierBytes& sent) {
  const List list = list_of(program_.units(stage)[static_cast<std::size_t>(step.unit)]);
  const auto* work = std::get_if<DispatchWork>(&op(list, step, kParts).work);
  TW_CHECK(work != nullptr);
  const Dispatch how = chain_.layout->dispatch;
  const auto time = [&](const TierBytes& bytes) {
    return dispatch_time(*context_.machine.calibration, chain_.pass->links.ep, bytes, how).time.value;
  };
  const double even = time(dispatch_bytes(*work, chain_.pass->links.ep, how));
  return base_.of(step, stage).seconds * time(sent) / even;
}

}  // namespace tw
