#include "costmodel/program/footprint.hpp"

#include <algorithm>
#include <map>

namespace tw {
namespace {

std::int64_t part(std::int64_t elements, std::size_t ranks) {
  const auto parts = static_cast<std::int64_t>(ranks);
  return (elements + parts - 1) / parts;
}

Rank any_rank(const Program& program, std::int32_t stage) {
  return program.peer(Rank(0), stage);
}

class Walk {
 public:
  Walk(const Program& program, std::int32_t stage)
      : program_(program),
        stage_(stage),
        units_(program.units(stage)),
        places_(places_of(program, stage)),
        alive_(places_.size()),
        kept_(places_.size()),
        gathered_(units_.size()),
        partial_(units_.size()) {
    for (std::size_t i = 0; i < units_.size(); ++i) {
      states_.push_back(state_bytes(program, stage, static_cast<std::int32_t>(i)));
      out_.parameters += states_.back().parameters;
      out_.gradients += states_.back().gradients;
      out_.moments += states_.back().moments;
    }
    now_ = states();
    mark_kept();
  }

  // The first pass finds the peak, the second its owners.
  Footprint run(std::size_t until, bool name) {
    const std::span<const Step> steps = program_.steps(stage_);
    top();
    for (std::size_t i = 0; i < steps.size(); ++i) {
      at_ = i;
      step(steps[i], name && i == until);
      if (name && i == until) break;
    }
    out_.left = now_ - states();
    return out_;
  }

 private:
  std::int64_t states() const { return out_.parameters + out_.gradients + out_.moments; }

  void mark_kept() {
    for (std::size_t u = 0; u < units_.size(); ++u) {
      const LayerOperands& layer = units_[u].work->operands;
      std::vector<bool> made(layer.values.size()), kept(layer.values.size());
      if (layer.input >= 0) made[static_cast<std::size_t>(layer.input)] = true;
      for (const Operands& op : layer.forward) {
        for (const std::int16_t value : op.writes) made[static_cast<std::size_t>(value)] = true;
      }
      for (const Operands& op : layer.backward) {
        for (const std::int16_t value : op.reads) {
          if (value >= 0 && made[static_cast<std::size_t>(value)])
            kept[static_cast<std::size_t>(value)] = true;
        }
      }
      for (std::int32_t m = 0; m < places_.microbatches(); ++m) {
        for (std::size_t v = 0; v < kept.size(); ++v) {
          if (!kept[v] || layer.values[v].name == "balance") continue;
          const auto value = static_cast<std::int16_t>(v);
          kept_[static_cast<std::size_t>(places_.at(static_cast<std::int32_t>(u), m, value))] = true;
        }
      }
    }
  }

  void top() {
    if (now_ > out_.peak) out_.peak = now_, out_.step = at_;
    out_.kept = std::max(out_.kept, kept_now_);
  }
  void make(std::int64_t place) {
    alive_[static_cast<std::size_t>(place)] = true;
    now_ += places_.bytes(place);
    if (kept_[static_cast<std::size_t>(place)]) kept_now_ += places_.bytes(place);
  }
  void free(std::int64_t place) {
    alive_[static_cast<std::size_t>(place)] = false;
    now_ -= places_.bytes(place);
    if (kept_[static_cast<std::size_t>(place)]) kept_now_ -= places_.bytes(place);
  }
  void set(std::vector<bool>& flags, std::int32_t unit, bool value, std::int64_t bytes) {
    const auto index = static_cast<std::size_t>(unit);
    if (flags[index] == value) return;
    flags[index] = value;
    now_ += value ? bytes : -bytes;
  }
  const StateBytes& of(std::int32_t unit) const { return states_[static_cast<std::size_t>(unit)]; }

  void step(const Step& step, bool name) {
    switch (step.action) {
      case Action::receive:
        make(places_.boundary(step));
        break;
      case Action::send:
        free(places_.boundary(step));
        break;
      case Action::gather:
        set(gathered_, step.unit, true, of(step.unit).gathered);
        break;
      case Action::release:
        set(gathered_, step.unit, false, of(step.unit).gathered);
        break;
      case Action::reduce:
        set(partial_, step.unit, false, of(step.unit).whole_gradient);
        break;
      case Action::op:
        return op(step, name);
      default:
        break;
    }
    top();
    if (name) name_owners();
  }

  void op(const Step& step, bool name) {
    const Operands& operands = operands_of(step, units_);
    const Unit::Kind kind = units_[static_cast<std::size_t>(step.unit)].kind;
    if (writes_weight_gradient(operands, kind)) {
      const std::int32_t unit = operands.weight < 0 ? program_.tied_unit(stage_) : step.unit;
      set(partial_, unit, true, of(unit).whole_gradient);
    }
    const auto place = [&](std::int16_t value) { return places_.at(step.unit, step.microbatch, value); };
    const bool over = writes_over(operands);
    const auto free_all = [&] {
      for (const std::int16_t value : step.frees) free(place(value));
    };
    if (over) free_all();
    for (const std::int16_t value : operands.writes) make(place(value));
    top();
    if (name) name_owners();
    if (!over) free_all();
  }

  void name_owners() {
    const auto add = [&](std::string text, std::int64_t bytes) {
      if (bytes > 0) out_.owners.push_back({std::move(text), bytes});
    };
    add("parameters", out_.parameters);
    add("gradients", out_.gradients);
    add("moments", out_.moments);
    std::map<std::pair<std::int32_t, std::int32_t>, std::int64_t> values;
    for (std::size_t i = 0; i < alive_.size(); ++i) {
      const auto place = static_cast<std::int64_t>(i);
      if (alive_[i]) values[{places_.unit_of(place), places_.microbatch_of(place)}] += places_.bytes(place);
    }
    for (std::size_t u = 0; u < units_.size(); ++u) {
      const auto unit = static_cast<std::int32_t>(u);
      if (gathered_[u]) add("gathered parameters of " + to_string(units_[u]), of(unit).gathered);
      if (partial_[u]) add("whole gradient of " + to_string(units_[u]), of(unit).whole_gradient);
    }
    for (const auto& [key, bytes] : values) {
      add("values of " + to_string(units_[static_cast<std::size_t>(key.first)]) + ", micro-batch " +
              std::to_string(key.second),
          bytes);
    }
  }

  const Program& program_;
  std::int32_t stage_;
  std::span<const Unit> units_;
  Places places_;
  std::vector<bool> alive_, kept_, gathered_, partial_;
  std::vector<StateBytes> states_;
  Footprint out_;
  std::int64_t now_ = 0, kept_now_ = 0;
  std::size_t at_ = 0;
};

}  // namespace

// What is whole has the padding that makes equal pieces.
StateBytes state_bytes(const Program& program, std::int32_t stage, std::int32_t unit) {
  const LocalElements local = local_elements(*program.units(stage)[static_cast<std::size_t>(unit)].work);
  const Layout& layout = program.input().layout;
  const StateMechanisms& s = state_of(program.input().profile, layout.zero);
  const Rank rank = any_rank(program, stage);
  std::int64_t whole = 0, cut = 0;
  for (const Scope scope : {Scope::attention, Scope::expert}) {
    const std::size_t ranks = program.shard_group(rank, scope).size();
    const std::int64_t piece = part(scope == Scope::attention ? local.attention : local.expert, ranks);
    cut += piece, whole += piece * static_cast<std::int64_t>(ranks);
  }
  const auto bytes = [&](DType dtype, bool is_cut) { return (is_cut ? cut : whole) * size_of(dtype); };
  StateBytes out;
  out.parameters = bytes(s.low_precision_copy ? DType::bf16 : s.master, program.cuts_parameters());
  out.gradients = bytes(s.gradient, program.cuts_gradients());
  out.moments = 2 * bytes(s.moments, program.cuts_optimizer());
  if (s.low_precision_copy) out.moments += bytes(s.master, program.cuts_optimizer());
  if (layout.offload == Offload::optimizer) out.moments = 0;
  if (program.cuts_parameters()) out.gathered = bytes(s.gather, false);
  if (program.cuts_gradients()) out.whole_gradient = bytes(s.gradient, false);
  return out;
}

Footprint footprint(const Program& program, Rank rank) {
  const std::int32_t stage = program.stage_of(rank);
  Footprint out = Walk(program, stage).run(0, false);
  out.owners = Walk(program, stage).run(out.step, true).owners;
  return out;
}

}  // namespace tw
