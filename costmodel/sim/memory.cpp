#include "costmodel/sim/memory.hpp"

#include <algorithm>
#include <map>

namespace tw {
namespace {

struct UnitBytes {
  std::int64_t kept = 0, deferred = 0, moment = 0, states = 0;
};

// One forward, backward or weight half of a unit for one micro-batch.
struct PassKeyOf {
  std::int32_t unit, microbatch;
  int what;  // 0 forward, 1 backward or its input half, 2 weight half
  friend auto operator<=>(const PassKeyOf&, const PassKeyOf&) = default;
};

struct Change {
  SimTime at;
  std::int32_t unit;
  std::int64_t bytes;
};

class Walk {
 public:
  Walk(const SimulatedStep& step, const StepContext& context, const Chain& chain, std::int32_t player)
      : step_(step),
        player_(player),
        stage_(step.players.stage[static_cast<std::size_t>(player)]),
        units_(step.program->units(stage_)) {
    for (const Unit& unit : units_) bytes_.push_back(of(unit, context, chain));
  }

  MemoryOverTime run() {
    collect();
    std::vector<Change> changes = all_changes();
    std::stable_sort(changes.begin(), changes.end(),
                     [](const Change& a, const Change& b) { return a.at < b.at; });
    MemoryOverTime out;
    std::int64_t now = 0;
    for (const UnitBytes& unit : bytes_) now += unit.states;
    const std::int64_t states = now;
    out.points.push_back({0, now});
    std::vector<std::int64_t> alive(units_.size()), at_peak;
    for (const Change& change : changes) {
      now += change.bytes, alive[static_cast<std::size_t>(change.unit)] += change.bytes;
      out.points.push_back({change.at, now});
      if (now > out.peak.bytes) out.peak = out.points.back(), at_peak = alive;
    }
    out.owners.push_back({"parameters, gradients, optimizer", states});
    for (std::size_t u = 0; u < at_peak.size(); ++u)
      if (at_peak[u] > 0) out.owners.push_back({to_string(units_[u]), at_peak[u]});
    std::stable_sort(out.owners.begin(), out.owners.end(),
                     [](const MemoryOwner& a, const MemoryOwner& b) { return a.bytes > b.bytes; });
    return out;
  }

 private:
  UnitBytes of(const Unit& unit, const StepContext& context, const Chain& chain) const {
    const auto kind = context.job.model->layer_kind[static_cast<std::size_t>(unit.layer)];
    const bool plain = step_.program->is_plain(unit);
    const PassCost& pass = *(plain ? chain.plain : chain.pass);
    const StateCost& state = *(plain ? chain.plain_state : chain.state);
    const auto sum = [](const KindPass& p, const KindState& s) {
      return UnitBytes{p.kept, p.deferred, p.recomputed + p.widest, s.parameters + s.gradients + s.moments};
    };
    if (unit.table_only) return {};
    if (unit.kind == Unit::Kind::embedding) return sum(pass.embedding, state.embedding);
    if (unit.kind == Unit::Kind::mtp_entry) return sum(pass.mtp_entry, state.mtp_entry);
    if (unit.kind == Unit::Kind::head) return sum(pass.head, unit.module < 0 ? state.head : state.mtp_head);
    return sum(pass.kinds[kind], state.kinds[kind]);
  }

  void collect() {
    const std::span<const Step> steps = step_.program->steps(stage_);
    for (const SimSlice& slice : step_.run.timeline) {
      if (slice.player != player_ || slice.lane != Lane::compute) continue;
      const SimOp& op =
          step_.code[static_cast<std::size_t>(stage_)].lanes[0][static_cast<std::size_t>(slice.op)];
      if (!op.listed) continue;
      const Step& step = steps[static_cast<std::size_t>(op.step)];
      const LayerWork& work = *units_[static_cast<std::size_t>(step.unit)].work;
      const bool half = step.backward && work.backward[static_cast<std::size_t>(step.op)].weight_half;
      const auto [found, made] = spans_.try_emplace({step.unit, step.microbatch,
                                                     half            ? 2
                                                     : step.backward ? 1
                                                                     : 0},
                                                    std::pair(slice.begin, slice.end));
      if (!made) found->second.second = slice.end;
    }
  }

  std::vector<Change> all_changes() const {
    std::vector<Change> out;
    for (const auto& [key, span] : spans_) {
      const UnitBytes& bytes = bytes_[static_cast<std::size_t>(key.unit)];
      if (key.what == 0) out.push_back({span.first, key.unit, bytes.kept});
      if (key.what != 1) continue;
      const auto weights = spans_.find({key.unit, key.microbatch, 2});
      const bool later = weights != spans_.end() && weights->second.first >= span.second;
      const SimTime end =
          weights == spans_.end() ? span.second : std::max(span.second, weights->second.second);
      out.push_back({span.first, key.unit, bytes.moment});
      out.push_back({span.second, key.unit, -bytes.moment});
      if (!later) {
        out.push_back({end, key.unit, -bytes.kept});
        continue;
      }
      out.push_back({span.second, key.unit, bytes.deferred - bytes.kept});
      out.push_back({end, key.unit, -bytes.deferred});
    }
    return out;
  }

  const SimulatedStep& step_;
  std::int32_t player_, stage_;
  std::span<const Unit> units_;
  std::vector<UnitBytes> bytes_;
  std::map<PassKeyOf, std::pair<SimTime, SimTime>> spans_;
};

}  // namespace

MemoryOverTime memory_over_time(const SimulatedStep& step, const StepContext& context, const Chain& chain,
                                std::int32_t player) {
  return Walk(step, context, chain, player).run();
}

}  // namespace tw
