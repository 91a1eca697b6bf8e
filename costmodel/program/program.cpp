#include "costmodel/program/program.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "topology/check.hpp"
#include "topology/json.hpp"

namespace tw {
namespace {

LayerWork emitted(const ProgramInput& input, const PassKey& key, const LayerKind* kind, Unit::Kind what) {
  const EmitInput emit{.model = &input.model,
                       .profile = &input.profile,
                       .key = key,
                       .seq = input.job.seq,
                       .routing = input.routing,
                       .operands = input.operands,
                       .training = input.job.training};
  if (what == Unit::Kind::layer) return emit_layer(emit, *kind);
  if (what == Unit::Kind::mtp_entry) return emit_mtp_entry(emit);
  return what == Unit::Kind::embedding ? emit_embedding(emit) : emit_head(emit);
}

// The ranks along axes from the one that has coordinate zero on them.
std::vector<Rank> along(Rank rank, const std::vector<Axis>& axes) {
  std::int32_t first = rank.value();
  std::size_t count = 1;
  for (const Axis& axis : axes) {
    first -= rank.value() / axis.stride % axis.size * axis.stride;
    count *= static_cast<std::size_t>(axis.size);
  }
  std::vector<Rank> out;
  for (std::size_t i = 0; i < count; ++i) {
    std::int32_t at = first;
    std::size_t left = i;
    for (const Axis& axis : axes) {
      const auto size = static_cast<std::size_t>(axis.size);
      at += static_cast<std::int32_t>(left % size) * axis.stride;
      left /= size;
    }
    out.push_back(Rank(at));
  }
  return out;
}

}  // namespace

std::string to_string(const Unit& unit) {
  const std::string copy = unit.copy > 0 ? fmt::format(" copy {}", unit.copy) : "";
  if (unit.table_only) return "tied table" + copy;
  const std::string of = unit.module < 0 ? copy : fmt::format(" of module {}{}", unit.module, copy);
  if (unit.kind == Unit::Kind::layer) return fmt::format("layer {}{}", unit.layer, copy);
  if (unit.kind == Unit::Kind::mtp_entry) return "entry" + of;
  if (unit.module >= 0) return "head" + of;
  return (unit.kind == Unit::Kind::embedding ? "embedding" : "head") + copy;
}

std::string_view name_of(Action action) {
  constexpr std::string_view kNames[] = {"receive", "send",       "gather",     "release", "op",
                                         "reduce",  "sum_shared", "sum_copies", "clip",    "update"};
  return kNames[static_cast<std::size_t>(action)];
}

std::string to_string(const Step& step, std::span<const Unit> units) {
  const std::string unit = step.unit < 0 ? "" : " " + to_string(units[static_cast<std::size_t>(step.unit)]);
  if (step.action == Action::send || step.action == Action::receive) {
    return fmt::format("{} {} of micro-batch {} at chunk {}, stage {}", name_of(step.action),
                       step.backward ? "gradient" : "activation", step.microbatch, step.chunk, step.peer);
  }
  if (step.action != Action::op) return fmt::format("{}{}", name_of(step.action), unit);
  const LayerWork& work = *units[static_cast<std::size_t>(step.unit)].work;
  const Op& op = (step.backward ? work.backward : work.forward)[static_cast<std::size_t>(step.op)];
  return fmt::format("{} {}{} micro-batch {}", step.backward ? "backward" : "forward", op.name, unit,
                     step.microbatch);
}

std::int64_t WeightPart::local_rows() const {
  std::int64_t sum = 0;
  for (const Extent& block : row) sum += block.room;
  return sum;
}

std::int64_t WeightPart::local_elements() const {
  return group.room * local_rows() * column.room;
}

std::span<const Unit> Program::units(std::int32_t stage) const {
  return stages_[static_cast<std::size_t>(stage)].units;
}

std::span<const Step> Program::steps(std::int32_t stage) const {
  return stages_[static_cast<std::size_t>(stage)].steps;
}

bool Program::cuts_gradients() const {
  const StateMechanisms& s = state_of(input_.profile, input_.layout.zero);
  return cuts_parameters() || (input_.layout.zero == 2 && (s.reduce_every_microbatch || microbatches_ == 1));
}

std::int32_t Program::tied_unit(std::int32_t stage) const {
  if (!input_.model.tied_embeddings) return -1;
  const std::span<const Unit> all = units(stage);
  const auto found = std::find_if(all.begin(), all.end(),
                                  [](const Unit& unit) { return unit.kind == Unit::Kind::embedding; });
  return found == all.end() ? -1 : static_cast<std::int32_t>(found - all.begin());
}

std::vector<Program::Copy> Program::copies(std::int32_t stage, std::int32_t unit) const {
  const Unit& wanted = units(stage)[static_cast<std::size_t>(unit)];
  std::vector<Copy> out;
  for (std::int32_t s = 0; s < stages(); ++s) {
    const std::span<const Unit> all = units(s);
    for (std::size_t i = 0; i < all.size(); ++i) {
      const bool same = all[i].kind == wanted.kind && all[i].layer == wanted.layer && all[i].module == wanted.module;
      if (same) out.push_back({s, static_cast<std::int32_t>(i)});
    }
  }
  return out;
}

std::vector<Rank> Program::shard_group(Rank rank, Scope scope) const {
  return along(rank, state_shard_group(input_.layout, scope));
}

std::vector<Rank> Program::replica_group(Rank rank, Scope scope) const {
  return along(rank, state_replica_group(input_.layout, scope));
}

std::vector<Rank> Program::cut_group(Rank rank, Scope scope) const {
  return group(rank, scope == Scope::attention ? attention_group(bit(Dim::tp)) : expert_group(bit(Dim::etp)));
}

Rank Program::peer(Rank rank, std::int32_t stage) const {
  const std::vector<Rank> line = group(rank, attention_group(bit(Dim::pp)));
  return line[static_cast<std::size_t>(stage)];
}

WeightPart Program::part(Rank rank, const Weight& weight) const {
  const bool expert = weight.scope == Scope::expert;
  const std::int64_t index = grid_.coordinate(rank, expert ? Dim::etp : Dim::tp);
  WeightPart out;
  out.groups = weight.groups, out.columns = weight.columns;
  const std::int64_t first = expert ? grid_.coordinate(rank, Dim::ep) * weight.local_groups : 0;
  out.group = {first, weight.local_groups, 0, weight.local_groups};
  std::int64_t local = 0;
  for (const RowBlock& block : weight.rows) {
    const std::int64_t begin = block.cut ? index / block.copies * block.local : 0;
    const std::int64_t count = std::clamp<std::int64_t>(block.distinct - begin, 0, block.local);
    out.row.push_back({out.rows + begin, count, local, block.local});
    out.rows += block.distinct;
    local += block.local;
  }
  const bool cut = weight.local_columns < weight.columns;
  out.column = {cut ? index * weight.local_columns : 0, weight.local_columns, 0, weight.local_columns};
  return out;
}

// Zigzag: of 2*cp pieces, rank i has piece i and piece 2*cp-1-i (see CpKind); contiguous otherwise.
std::vector<RowTag> Program::tags(Rank rank) const {
  const Layout& l = input_.layout;
  const std::int32_t index = grid_.coordinate(rank, Dim::cp);
  const bool zigzag = l.cp > 1 && l.cp_kind == CpKind::zigzag;
  const std::int32_t piece = input_.job.seq / (zigzag ? 2 * l.cp : l.cp);
  std::vector<RowTag> out;
  for (std::int32_t sequence = 0; sequence < l.mb; ++sequence) {
    for (std::int32_t i = 0; i < piece; ++i) out.push_back({sequence, index * piece + i});
    if (!zigzag) continue;
    for (std::int32_t i = 0; i < piece; ++i) out.push_back({sequence, (2 * l.cp - 1 - index) * piece + i});
  }
  return out;
}

std::int64_t Program::first_sequence(Rank rank, std::int64_t microbatch) const {
  return (grid_.coordinate(rank, Dim::dp) * microbatches_ + microbatch) * input_.layout.mb;
}

// Mechanisms whose operations do not say yet what they read and write, and modules that no unit holds.
void refuse_unwritten(const Model& model, const Profile& profile) {
  if (model.mtp_layers > 0)
    throw InputError(model.name, "model", "multi-token prediction cannot be run as a program");
  const KernelMechanisms& k = profile.kernels;
  const char* what = k.tp_overlap ? "tp_overlap" : k.dropout ? "dropout" : nullptr;
  if (!k.merged_projections) what = "separate projections";
  if (k.expanded_kv) what = "expanded_kv";
  if (what == nullptr) return;
  throw InputError(profile.name, "kernels",
                   fmt::format("{} cannot be run as a program; trainwright's profile can", what));
}

Program::Program(ProgramInput input) : input_(std::move(input)), grid_(input_.layout) {
  input_.job.model = &input_.model;
  if (input_.operands) refuse_unwritten(input_.model, input_.profile);
  const std::string broken = illegal_because(input_.layout, input_.job);
  if (!broken.empty()) throw InputError("layout", to_string(input_.layout), broken);
  microbatches_ = tw::microbatches(input_.layout, input_.job);
  const PassKey key = pass_key(input_.layout);
  PassKey plain = key;
  plain.recompute = {};
  const bool some = input_.layout.recompute.full && input_.layout.recompute.full_layers > 0;
  for (const LayerKind& kind : input_.model.kinds) {
    kinds_.push_back(emitted(input_, key, &kind, Unit::Kind::layer));
    if (some) plain_.push_back(emitted(input_, plain, &kind, Unit::Kind::layer));
  }
  embedding_ = emitted(input_, key, nullptr, Unit::Kind::embedding);
  head_ = emitted(input_, key, nullptr, Unit::Kind::head);
  if (input_.model.mtp_layers > 0) mtp_entry_ = emitted(input_, key, nullptr, Unit::Kind::mtp_entry);
  stages_.resize(static_cast<std::size_t>(input_.layout.pp));
  write_program(*this);
}

}  // namespace tw
