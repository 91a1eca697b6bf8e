#include "costmodel/program/view.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "topology/check.hpp"

namespace tw {
namespace {

Exchange::Kind kind_of(Collective kind) {
  switch (kind) {
    case Collective::all_reduce:
      return Exchange::Kind::all_reduce;
    case Collective::all_gather:
      return Exchange::Kind::all_gather;
    case Collective::reduce_scatter:
      return Exchange::Kind::reduce_scatter;
    default:
      return Exchange::Kind::all_to_all;
  }
}

std::int64_t up(std::int64_t elements, std::size_t ranks) {
  const auto parts = static_cast<std::int64_t>(ranks);
  return (elements + parts - 1) / parts;
}

}  // namespace

std::string_view name_of(Exchange::Kind kind) {
  constexpr std::string_view kNames[] = {"send",           "receive",    "all_reduce", "all_gather",
                                         "reduce_scatter", "all_to_all", "ring"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::int32_t Groups::id_of(const std::vector<Rank>& ranks) {
  const auto [at, added] = ids_.try_emplace(ranks, static_cast<std::int32_t>(lists_.size()));
  if (added) lists_.push_back(ranks);
  return at->second;
}

Places::Places(std::span<const Unit> units, std::int64_t microbatches, std::int32_t weight_copies)
    : units_(units), microbatches_(microbatches), weight_copies_(weight_copies) {
  const std::size_t count = units.size();
  before_.assign(count, -1), after_.assign(count, -1);
  for (std::size_t i = 0; i < count; ++i) {
    const Unit& unit = units[i];
    const bool follows = i > 0 && !unit.table_only && units[i - 1].chunk == unit.chunk &&
                         units[i - 1].copy == unit.copy && !units[i - 1].table_only;
    if (follows) {
      before_[i] = static_cast<std::int32_t>(i) - 1;
      after_[i - 1] = static_cast<std::int32_t>(i);
    }
    first_.push_back(static_cast<std::int64_t>(bytes_.size()));
    for (std::int64_t m = 0; m < microbatches; ++m) {
      for (const Value& value : unit.work->operands.values) bytes_.push_back(value.bytes());
    }
  }
}

std::int64_t Places::at(std::int32_t unit, std::int32_t microbatch, std::int16_t value) const {
  if (value < 0) return -1;
  const auto index = static_cast<std::size_t>(unit);
  const LayerOperands& layer = operands(unit);
  if (value == layer.output && after_[index] >= 0)
    return at(after_[index], microbatch, operands(after_[index]).input);
  if (value == layer.input_gradient && before_[index] >= 0)
    return at(before_[index], microbatch, operands(before_[index]).output_gradient);
  return first_[index] + microbatch * static_cast<std::int64_t>(layer.values.size()) + value;
}

std::int64_t Places::boundary(const Step& step) const {
  const bool first = (step.action == Action::receive) != step.backward;
  std::int32_t found = -1;
  for (std::size_t i = 0; i < units_.size(); ++i) {
    const Unit& unit = units_[i];
    if (unit.chunk != step.chunk || unit.copy != copy_of(step.microbatch) || unit.table_only) continue;
    if (found < 0 || !first) found = static_cast<std::int32_t>(i);
  }
  if (found < 0) return -1;
  const LayerOperands& layer = operands(found);
  const std::int16_t value = first ? (step.backward ? layer.input_gradient : layer.input)
                                   : (step.backward ? layer.output_gradient : layer.output);
  return at(found, step.microbatch, value);
}

std::int32_t Places::unit_of(std::int64_t place) const {
  const auto after = std::upper_bound(first_.begin(), first_.end(), place);
  return static_cast<std::int32_t>(after - first_.begin()) - 1;
}

std::int32_t Places::microbatch_of(std::int64_t place) const {
  const std::int32_t unit = unit_of(place);
  const auto each = static_cast<std::int64_t>(operands(unit).values.size());
  return static_cast<std::int32_t>((place - first_[static_cast<std::size_t>(unit)]) / each);
}

std::string Places::name(std::int64_t place) const {
  const std::int32_t unit = unit_of(place);
  const std::vector<Value>& values = operands(unit).values;
  const auto each = static_cast<std::int64_t>(values.size());
  const auto index = static_cast<std::size_t>((place - first_[static_cast<std::size_t>(unit)]) % each);
  return fmt::format("{}{} of {}, micro-batch {}", values[index].gradient ? "gradient of " : "",
                     values[index].name, to_string(units_[static_cast<std::size_t>(unit)]),
                     microbatch_of(place));
}

Places places_of(const Program& program, std::int32_t stage) {
  return Places(program.units(stage), program.microbatches(),
                schedule_at(program.input().layout.schedule).weight_copies);
}

const Operands& operands_of(const Step& step, std::span<const Unit> units) {
  const LayerOperands& layer = units[static_cast<std::size_t>(step.unit)].work->operands;
  return (step.backward ? layer.backward : layer.forward)[static_cast<std::size_t>(step.op)];
}

const Op& op_of(const Step& step, std::span<const Unit> units) {
  const LayerWork& work = *units[static_cast<std::size_t>(step.unit)].work;
  return (step.backward ? work.backward : work.forward)[static_cast<std::size_t>(step.op)];
}

bool writes_weight_gradient(const Operands& operands, Unit::Kind kind) {
  const bool tied = kind == Unit::Kind::head && operands.what == Operator::linear && operands.weight < 0;
  return (operands.weight >= 0 || tied) &&
         (operands.half == Half::weight_gradient || operands.half == Half::backward);
}

bool reads_weight(const Operands& operands, Unit::Kind kind) {
  const bool tied = kind == Unit::Kind::head && operands.what == Operator::linear && operands.weight < 0;
  const bool table = operands.what == Operator::embed && operands.half == Half::backward;
  return (operands.weight >= 0 || tied) && operands.half != Half::weight_gradient && !table;
}

bool writes_over(const Operands& operands) {
  return operands.what == Operator::score && operands.half == Half::backward;
}

LocalElements local_elements(const LayerWork& work) {
  LocalElements out;
  for (const Weight& weight : work.weights)
    (weight.scope == Scope::expert ? out.expert : out.attention) += weight.local;
  return out;
}

RankView::RankView(const Program& program, Rank rank, const Places& places, Groups& groups)
    : program_(program), rank_(rank), stage_(program.stage_of(rank)), places_(places), groups_(groups) {}

void RankView::add(Exchanges& out, Exchange::Kind kind, const std::vector<Rank>& ranks, std::int64_t bytes) {
  if (ranks.size() > 1 && bytes > 0) out.push_back({kind, groups_.id_of(ranks), Rank(), bytes});
}

void RankView::add_keyed(Exchanges& out, Exchange::Kind kind, GroupKey key, std::int64_t bytes) {
  auto found = std::find_if(known_.begin(), known_.end(), [&](const auto& k) { return k.first == key; });
  if (found == known_.end()) {
    known_.push_back({key, groups_.id_of(program_.group(rank_, key))});
    found = std::prev(known_.end());
  }
  if (groups_.at(found->second).size() > 1) out.push_back({kind, found->second, Rank(), bytes});
}

Exchanges RankView::exchanges(const Step& step) {
  Exchanges out;
  switch (step.action) {
    case Action::send:
    case Action::receive: {
      const auto kind = step.action == Action::send ? Exchange::Kind::send : Exchange::Kind::receive;
      out.push_back({kind, -1, program_.peer(rank_, step.peer), places_.bytes(places_.boundary(step))});
      break;
    }
    case Action::op:
      add_op(out, step);
      break;
    case Action::release:
    case Action::update:
      break;
    case Action::clip: {
      std::vector<Rank> all;
      for (std::int32_t i = 0; i < program_.grid().ranks(); ++i) all.push_back(Rank(i));
      add(out, Exchange::Kind::all_reduce, all, size_of(DType::fp64));
      break;
    }
    default:
      add_state(out, step);
  }
  return out;
}

// What runs on the network stream is between the ranks of the op's group: its priced work says how, and
// what is priced as nothing (counts of tokens, the last hop of a ring) is named by its operator.
void RankView::add_op(Exchanges& out, const Step& step) {
  const std::span<const Unit> units = program_.units(stage_);
  const Op& op = op_of(step, units);
  if (op.stream != Stream::network) return;
  const Operands& operands = operands_of(step, units);
  if (const auto* c = std::get_if<CollectiveWork>(&op.work))
    return add_keyed(out, kind_of(c->kind), c->group, c->bytes.count);
  if (const auto* d = std::get_if<DispatchWork>(&op.work))
    return add_keyed(out, Exchange::Kind::all_to_all, d->group, d->bytes.count);
  if (const auto* r = std::get_if<RingWork>(&op.work))
    return add_keyed(out, Exchange::Kind::ring, r->group, r->bytes.count * r->hops);
  const std::int64_t place = places_.at(step.unit, step.microbatch, operands.writes.front());
  const auto kind =
      operands.what == Operator::ring_return ? Exchange::Kind::ring : Exchange::Kind::all_reduce;
  add_keyed(out, kind, operands.group, places_.bytes(place));
}

void RankView::add_state(Exchanges& out, const Step& step) {
  const Unit& unit = program_.units(stage_)[static_cast<std::size_t>(step.unit)];
  if (step.action == Action::sum_shared) return add_shared(out, unit);
  const StateMechanisms& s = state_of(program_.input().profile, program_.input().layout.zero);
  const LocalElements local = local_elements(*unit.work);
  for (const Scope scope : {Scope::attention, Scope::expert}) {
    const std::int64_t whole = scope == Scope::attention ? local.attention : local.expert;
    const std::vector<Rank> shard = program_.shard_group(rank_, scope);
    const std::int64_t part = program_.cuts_optimizer() ? up(whole, shard.size()) : whole;
    if (step.action == Action::gather) {
      add(out, Exchange::Kind::all_gather, shard, whole * size_of(s.gather));
    } else if (step.action == Action::reduce) {
      if (program_.cuts_optimizer())
        add(out, Exchange::Kind::reduce_scatter, shard, whole * size_of(s.reduce));
      add(out, Exchange::Kind::all_reduce, program_.replica_group(rank_, scope), part * size_of(s.reduce));
    } else {
      std::vector<Rank> ranks;
      for (const Program::Copy& copy : program_.copies(stage_, step.unit))
        ranks.push_back(program_.peer(rank_, copy.stage));
      add(out, Exchange::Kind::all_reduce, ranks, part * size_of(s.reduce));
    }
  }
}

// Weights read on cut tokens are summed over the whole cut; rows held by several ranks over those.
void RankView::add_shared(Exchanges& out, const Unit& unit) {
  const StateMechanisms& s = state_of(program_.input().profile, program_.input().layout.zero);
  for (const Scope scope : {Scope::attention, Scope::expert}) {
    const std::vector<Rank> cut = program_.cut_group(rank_, scope);
    std::int64_t partial = 0, repeated = 0, copies = 1;
    for (const Weight& weight : unit.work->weights) {
      if (weight.scope != scope) continue;
      if (weight.sequence_partial) partial += weight.local;
      for (const RowBlock& block : weight.rows) {
        if (weight.sequence_partial || block.copies <= 1) continue;
        repeated += block.local * weight.local_columns * weight.local_groups;
        copies = block.copies;
      }
    }
    add(out, Exchange::Kind::all_reduce, cut, partial * size_of(s.reduce));
    const auto mine = static_cast<std::size_t>(std::find(cut.begin(), cut.end(), rank_) - cut.begin());
    const auto each = static_cast<std::size_t>(copies), first = mine / each * each;
    std::vector<Rank> alike;
    for (std::size_t i = first; i < first + each; ++i) alike.push_back(cut[i]);
    add(out, Exchange::Kind::all_reduce, alike, repeated * size_of(s.reduce));
  }
}

ProgramSteps steps_of(const Program& program) {
  ProgramSteps out;
  out.microbatches = program.microbatches();
  out.weight_copies = schedule_at(program.input().layout.schedule).weight_copies;
  out.gathers_always = program.cuts_parameters();
  out.gathers_once = program.cuts_optimizer() && !out.gathers_always;
  out.reduces_every = program.cuts_gradients();
  std::vector<Places> places;
  for (std::int32_t stage = 0; stage < program.stages(); ++stage) {
    places.push_back(places_of(program, stage));
    const std::span<const Unit> units = program.units(stage);
    StageFacts facts{{units.begin(), units.end()}, {}, {}, program.tied_unit(stage)};
    for (std::size_t i = 0; i < units.size(); ++i) {
      const std::vector<Weight>& weights = units[i].work->weights;
      facts.copied.push_back(program.copies(stage, static_cast<std::int32_t>(i)).size() > 1);
      facts.shared.push_back(program.input().layout.tp > 1 &&
                             std::any_of(weights.begin(), weights.end(), [](const Weight& weight) {
                               return weight.sequence_partial ||
                                      std::any_of(weight.rows.begin(), weight.rows.end(),
                                                  [](const RowBlock& block) { return block.copies > 1; });
                             }));
    }
    out.stages.push_back(std::move(facts));
  }
  for (std::int32_t rank = 0; rank < program.grid().ranks(); ++rank) {
    const std::int32_t stage = program.stage_of(Rank(rank));
    RankView view(program, Rank(rank), places[static_cast<std::size_t>(stage)], out.groups);
    RankSteps steps{stage, {}};
    steps.steps.reserve(program.steps(stage).size());
    for (const Step& step : program.steps(stage)) steps.steps.push_back({step, view.exchanges(step)});
    out.ranks.push_back(std::move(steps));
  }
  return out;
}

}  // namespace tw
