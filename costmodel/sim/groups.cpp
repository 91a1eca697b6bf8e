#include "costmodel/sim/groups.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "costmodel/program/view.hpp"
#include "topology/check.hpp"

namespace tw {

// Alternatives of Work from which on several ranks take part.
constexpr std::size_t kFirstExchange = 5;
static_assert(std::is_same_v<std::variant_alternative_t<kFirstExchange, Work>, CollectiveWork>);

// Kinds whose groups have one member are none.
void SimGroups::add(SmallList<std::int8_t, 4>& out, const std::string& name, const Members& members,
                    Meeting why, Scope scope) {
  const auto [found, made] = known_.try_emplace(name, std::int8_t{-1});
  if (made) {
    SimGroupKind kind{name, why, scope, {}, {0}, {}};
    const std::int32_t ranks = program_.grid().ranks();
    kind.of_rank.assign(static_cast<std::size_t>(ranks), -1);
    for (std::int32_t r = 0; r < ranks; ++r) {
      if (kind.of_rank[static_cast<std::size_t>(r)] >= 0) continue;
      const std::vector<Rank> group = members(Rank(r));
      if (group.size() <= 1) continue;
      const auto id = static_cast<std::int32_t>(kind.count());
      for (const Rank rank : group) {
        kind.of_rank[static_cast<std::size_t>(rank.value())] = id;
        kind.members.push_back(rank);
      }
      kind.first.push_back(static_cast<std::int32_t>(kind.members.size()));
    }
    if (kind.count() > 0) {
      TW_CHECK(kinds_.size() < 120);
      found->second = static_cast<std::int8_t>(kinds_.size());
      kinds_.push_back(std::move(kind));
    }
  }
  if (found->second >= 0) out.push_back(found->second);
}

namespace {

std::string name_of(GroupKey key) {
  constexpr std::string_view kDims[] = {"tp", "cp", "dp", "pp", "etp", "ep", "edp"};
  std::string out;
  for (std::size_t i = 0; i < std::size(kDims); ++i)
    if ((key.dims >> i & 1) != 0) out += (out.empty() ? "" : "-") + std::string(kDims[i]);
  return out;
}

}  // namespace

void SimGroups::add_key(SmallList<std::int8_t, 4>& out, GroupKey key) {
  add(out, name_of(key), [&](Rank rank) { return program_.group(rank, key); });
}

void SimGroups::add_op(SmallList<std::int8_t, 4>& out, const Step& step, std::int32_t stage) {
  const Op& op = op_of(step, program_.units(stage));
  if (const auto* c = std::get_if<CollectiveWork>(&op.work)) return add_key(out, c->group);
  if (const auto* d = std::get_if<DispatchWork>(&op.work)) return add_key(out, d->group);
  if (const auto* r = std::get_if<RingWork>(&op.work)) return add_key(out, r->group);
  const bool meets = rules_ == SimRules::trainer && op.stream == Stream::network;
  if (meets) add_key(out, operands_of(step, program_.units(stage)).group);
}

void SimGroups::add_state(SmallList<std::int8_t, 4>& out, const Step& step, std::int32_t stage) {
  const Unit& unit = program_.units(stage)[static_cast<std::size_t>(step.unit)];
  const LocalElements local = local_elements(*unit.work);
  for (const Scope scope : {Scope::attention, Scope::expert}) {
    if ((scope == Scope::attention ? local.attention : local.expert) == 0) continue;
    const char* of = scope == Scope::expert ? "experts" : "attention";
    if (step.action == Action::gather || program_.cuts_optimizer())
      add(
          out, fmt::format("shards of {}", of), [&](Rank rank) { return program_.shard_group(rank, scope); },
          Meeting::shards, scope);
    if (step.action == Action::reduce)
      add(
          out, fmt::format("replicas of {}", of),
          [&](Rank rank) { return program_.replica_group(rank, scope); }, Meeting::replicas, scope);
  }
}

void SimGroups::add_copies(SmallList<std::int8_t, 4>& out, const Step& step, std::int32_t stage) {
  std::vector<std::int32_t> stages;
  std::string name = "copies on stages";
  for (const Program::Copy& copy : program_.copies(stage, step.unit)) {
    stages.push_back(copy.stage);
    name += fmt::format(" {}", copy.stage);
  }
  const Members all = [&](Rank rank) {
    std::vector<Rank> ranks;
    const auto at = std::find(stages.begin(), stages.end(), program_.stage_of(rank));
    if (at == stages.end()) return ranks;
    for (const std::int32_t each : stages) ranks.push_back(program_.peer(rank, each));
    std::sort(ranks.begin(), ranks.end());
    ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
    return ranks;
  };
  add(out, name, all, Meeting::copies);
}

// Weights read on cut tokens are summed over the whole cut, rows held by several ranks over those.
void SimGroups::add_shared(SmallList<std::int8_t, 4>& out, const Unit& unit) {
  for (const Scope scope : {Scope::attention, Scope::expert}) {
    const char* of = scope == Scope::expert ? "experts" : "attention";
    bool partial = false;
    std::int64_t copies = 1;
    for (const Weight& weight : unit.work->weights) {
      if (weight.scope != scope) continue;
      partial = partial || (weight.sequence_partial && weight.local > 0);
      for (const RowBlock& block : weight.rows) {
        if (!weight.sequence_partial && block.copies > 1) copies = block.copies;
      }
    }
    if (partial)
      add(out, fmt::format("cut of {}", of), [&](Rank rank) { return program_.cut_group(rank, scope); });
    if (copies <= 1) continue;
    add(out, fmt::format("{} alike in the cut of {}", copies, of), [&](Rank rank) {
      const std::vector<Rank> cut = program_.cut_group(rank, scope);
      const auto mine = static_cast<std::size_t>(std::find(cut.begin(), cut.end(), rank) - cut.begin());
      const auto each = static_cast<std::size_t>(copies), first = mine / each * each;
      std::vector<Rank> alike;
      for (std::size_t i = first; i < first + each; ++i) alike.push_back(cut[i]);
      return alike;
    });
  }
}

SmallList<std::int8_t, 4> SimGroups::of(const Step& step, std::int32_t stage) {
  SmallList<std::int8_t, 4> out;
  switch (step.action) {
    case Action::op: {
      const Op& op = op_of(step, program_.units(stage));
      if (op.stream == Stream::compute && op.work.index() < kFirstExchange) break;
      const auto [found, made] = known_ops_.try_emplace(&op);
      if (made) add_op(found->second, step, stage);
      return found->second;
    }
    case Action::gather:
    case Action::reduce:
      add_state(out, step, stage);
      break;
    case Action::sum_copies:
      add_copies(out, step, stage);
      break;
    case Action::sum_shared:
      add_shared(out, program_.units(stage)[static_cast<std::size_t>(step.unit)]);
      break;
    case Action::clip:
      add(
          out, "all",
          [&](Rank) {
            std::vector<Rank> all;
            for (std::int32_t i = 0; i < program_.grid().ranks(); ++i) all.push_back(Rank(i));
            return all;
          },
          Meeting::step);
      break;
    default:
      break;
  }
  return out;
}

}  // namespace tw
