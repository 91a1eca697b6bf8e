#include "planner/validate/fill_layout.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "planner/enumerate.hpp"
#include "planner/validate/settle.hpp"
#include "planner/validate/words.hpp"
#include "topology/check.hpp"

namespace tw::validate {
namespace {

using Sizes = std::vector<std::int32_t>;
// What Megatron-Core can recompute beside the attention core since 2024 (--recompute-modules,
// --recompute-num-layers); layers by quarters.
constexpr std::int32_t kModulesSince = 2024;
constexpr std::string_view kFinerRecompute[] = {"norm", "mlp", "norm+moe_act", "moe_act+mla_up",
                                                "norm+moe_act+mla_up"};
constexpr std::int32_t kLargestMicroBatch = 64, kLargestVpp = 32;
constexpr std::int32_t kLargestWithoutLayout = 4;  // of both, where a row says no layout at all

// Every layout with every value.
template <class T, class Set>
std::vector<Layout> varied(const std::vector<Layout>& layouts, const std::vector<T>& values, Set set) {
  std::vector<Layout> out;
  for (const Layout& layout : layouts) {
    for (const T& value : values) {
      out.push_back(layout);
      set(out.back(), value);
    }
  }
  return out;
}

Sizes powers_up_to(std::int64_t most) {
  Sizes out;
  for (std::int32_t value = 1; value <= most; value *= 2) out.push_back(value);
  return out;
}

class Filler {
 public:
  Filler(const LayoutAsk& ask, std::vector<std::string>& filled)
      : ask_(ask), l_(ask.row.layout), filled_(filled) {}

  FilledLayouts run() {
    if (!read_words()) return {{}, true, why_not_};
    std::vector<Layout> all =
        varied({base_}, sizes(l_.tp, "tp", powers_up_to(ask_.job.gpus >= 8 ? 8 : ask_.job.gpus)),
               [](Layout& l, std::int32_t v) { l.tp = v; });
    fill_etp(all);
    all = varied(all, sizes(l_.pp, "pp", powers_up_to(16)), [](Layout& l, std::int32_t v) { l.pp = v; });
    all = varied(all, sizes(l_.ep, "ep", expert_sizes()), [](Layout& l, std::int32_t v) { l.ep = v; });
    all = varied(all, vpps(), [](Layout& l, std::int32_t v) { l.vpp = v; });
    all =
        varied(all, micro_batches(), [this](Layout& l, std::int32_t v) { l.mb = v > 0 ? v : by_stages(l); });
    all = varied(all, recomputes(), [](Layout& l, const Recompute& v) { l.recompute = v; });
    return legal_ones(all);
  }

 private:
  // One value where the row has it; else the candidates, and the row is open.
  Sizes sizes(const MaybeCount& said, std::string_view name, const Sizes& open) {
    if (said) return {*said};
    if (open.size() > 1) left_open(name);
    return open;
  }
  void left_open(std::string_view name) {
    exact_ = false;
    open_.emplace_back(name);
  }
  bool refuse(const std::string& why) {
    why_not_ = why;
    return false;
  }

  bool says_layout() const { return l_.tp || l_.pp; }
  std::int32_t most(std::int32_t usual) const { return says_layout() ? usual : kLargestWithoutLayout; }

  // A published layout without ep has none; where nothing is published, it is as open as the rest.
  Sizes expert_sizes() const {
    return ask_.job.model->has_moe() && !says_layout() ? powers_up_to(ask_.job.model->moe()->experts)
                                                       : Sizes{1};
  }

  bool read_words() {
    base_.cp = l_.cp.value_or(1);
    const std::int32_t year = ask_.row.year.value_or(2025);
    base_.precision = read_precision_words(l_.precision, year, ask_.blackwell);
    if (l_.precision.empty()) filled_.push_back("layout.precision: bf16");
    fill_sp(year);
    fill_ways();
    return fill_zero() && fill_schedule() && fill_recompute();
  }

  void fill_etp(std::vector<Layout>& all) {
    const bool by_tp = *ask_.rule.etp_is_tp && !l_.etp;
    for (Layout& layout : all) layout.etp = by_tp ? layout.tp : l_.etp.value_or(1);
    if (ask_.job.model->has_moe() && !l_.etp)
      filled_.push_back(by_tp ? "layout.etp: tp by its source" : "layout.etp: 1 by its source");
  }

  void fill_sp(std::int32_t year) {
    base_.sp = l_.sp.value_or(ask_.rule.sp.value_or(year >= 2022));
    if (!l_.sp && l_.tp.value_or(2) > 1)
      filled_.push_back(fmt::format("layout.sp: {} with tp (usual since 2022)", base_.sp));
  }

  void fill_ways() {
    for (const TextRule& effect : ask_.effects) {
      if (effect.set == TextEffect::dedup) base_.dispatch = Dispatch::dedup;
      if (effect.set == TextEffect::cp_a2a) base_.cp_kind = CpKind::a2a;
      if (effect.set == TextEffect::cp_ring) base_.cp_kind = CpKind::ring;
    }
  }

  bool fill_zero() {
    const auto words = read_zero_words(l_.zero);
    if (!words && !l_.zero.empty())
      return refuse("layout.zero \"" + printable(l_.zero) + "\" is not understood");
    base_.zero = words ? words->zero : ask_.rule.zero.value_or(1);
    if (!words) filled_.push_back(fmt::format("layout.zero: {} by its source", base_.zero));
    base_.hsdp = l_.hsdp_shard ? *l_.hsdp_shard : words && words->shard ? *words->shard : 0;
    return true;
  }

  bool fill_schedule() {
    schedule_ = read_schedule_words(l_.schedule);
    if (!schedule_ && !l_.schedule.empty())
      return refuse("layout.schedule \"" + printable(l_.schedule) + "\" is not understood");
    if (schedule_) base_.schedule = *schedule_;
    return true;
  }

  bool fill_recompute() {
    std::string words = l_.recompute;
    if (words.empty() && ask_.rule.recompute) {
      words = *ask_.rule.recompute;
      filled_.push_back("layout.recompute: " + words + " by its source");
    }
    if (words.empty()) return true;
    recompute_ =
        read_recompute_words(words, ask_.job.model->has_moe(), ask_.profile.kernels.selective_by_operator);
    if (!recompute_) return refuse("layout.recompute \"" + printable(words) + "\" is not understood");
    if (!recompute_->note.empty()) filled_.push_back(recompute_->note);
    return true;
  }

  // Interleaving needs two or more chunks per stage; a source that names no schedule may interleave.
  Sizes vpps() {
    if (l_.vpp) return {*l_.vpp};
    if (l_.pp && *l_.pp == 1) return {1};
    if (schedule_ == kScheduleZbV || schedule_ == kScheduleDualpipeV) return {2};
    if (schedule_ && *schedule_ != kScheduleInterleaved) return {1};
    if (!schedule_ && ask_.rule.vpp) {
      filled_.push_back(fmt::format("layout.vpp: {} by its source", *ask_.rule.vpp));
      return {*ask_.rule.vpp};
    }
    const std::int32_t usual = *ask_.profile.can.usual_chunks;
    if (schedule_ && usual > 0) {
      filled_.push_back(fmt::format("layout.vpp: {} by its framework", usual));
      return {usual};
    }
    Sizes out;
    for (std::int32_t v = schedule_ ? 2 : 1; v <= std::min(most(kLargestVpp), ask_.job.model->layers()); ++v)
      out.push_back(v);
    left_open("vpp");
    return out;
  }

  Sizes micro_batches() {
    if (l_.micro_batch) return {*l_.micro_batch};
    const std::int64_t per_rank = l_.dp ? ask_.job.global_batch / *l_.dp : ask_.job.global_batch;
    if (l_.accumulation && per_rank % *l_.accumulation == 0) {
      filled_.push_back("layout.micro_batch: batch over dp and accumulation");
      return {static_cast<std::int32_t>(per_rank / *l_.accumulation)};
    }
    if (ask_.rule.micro_batch) {
      filled_.push_back(fmt::format("layout.micro_batch: {} by its source", *ask_.rule.micro_batch));
      return {*ask_.rule.micro_batch};
    }
    if (*ask_.profile.can.microbatches_per_stage > 0 && l_.dp && l_.pp.value_or(1) > 1) {
      filled_.push_back(fmt::format("layout.micro_batch: {} per stage and step by its framework",
                                    *ask_.profile.can.microbatches_per_stage));
      return {0};
    }
    left_open("micro_batch");
    return powers_up_to(std::clamp<std::int64_t>(per_rank, 1, most(kLargestMicroBatch)));
  }

  std::int32_t by_stages(const Layout& l) const {
    const std::int64_t per_rank = ask_.job.global_batch / *l_.dp;
    const std::int64_t parts = std::int64_t{*ask_.profile.can.microbatches_per_stage} * l.pp * l.vpp;
    return static_cast<std::int32_t>(std::max<std::int64_t>(per_rank / parts, 1));
  }

  std::vector<Recompute> recomputes() {
    if (recompute_) return {recompute_->recompute};
    left_open("recompute");
    std::vector<Recompute> out;
    for (const std::string& option : ask_.profile.can.recompute) out.push_back(parse_recompute(option));
    if (ask_.row.year.value_or(2025) < kModulesSince || !says_layout()) return out;
    const auto selective = std::find(out.begin(), out.end(), Recompute{.modules = Recompute::core});
    if (selective == out.end()) return out;
    for (const std::string_view option : kFinerRecompute) out.push_back(parse_recompute(option));
    const std::int32_t layers = (ask_.job.model->layers() - 1) / l_.pp.value_or(1) + 1;
    for (std::int32_t part = 1; part < 4; ++part) {
      if (layers * part / 4 > 0) out.push_back({.full = true, .full_layers = layers * part / 4});
    }
    return out;
  }

  FilledLayouts legal_ones(const std::vector<Layout>& all) {
    FilledLayouts out;
    out.exact = exact_;
    std::vector<std::string> notes;
    std::set<LayoutId> seen;
    for (Layout layout : all) {
      std::vector<std::string> near;
      const double share = recompute_ ? recompute_->layer_share : 0;
      settle(layout, {ask_.job, l_, share, ask_.profile.can.stage_ends}, near);
      const std::string why = illegal_because(layout, ask_.job);
      if (!why.empty()) {
        if (out.why_not.empty()) out.why_not = why + " (" + to_string(layout) + ")";
        continue;
      }
      if (!seen.insert(layout_id(layout)).second) continue;
      out.layouts.push_back(layout);
      if (notes.empty()) notes = near;
    }
    if (!out.layouts.empty()) out.why_not.clear();
    filled_.insert(filled_.end(), notes.begin(), notes.end());
    if (!open_.empty()) {
      filled_.push_back(fmt::format("layout.{}: the fastest that fits of {} legal choices",
                                    fmt::join(open_, ", "), out.layouts.size()));
    }
    return out;
  }

  const LayoutAsk& ask_;
  const RowLayout& l_;
  std::vector<std::string>& filled_;
  Layout base_;
  std::optional<std::uint8_t> schedule_;
  std::optional<RecomputeWords> recompute_;
  std::vector<std::string> open_;
  bool exact_ = true;
  std::string why_not_;
};

}  // namespace

FilledLayouts fill_layouts(const LayoutAsk& ask, std::vector<std::string>& filled) {
  return Filler(ask, filled).run();
}

std::int64_t global_batch_of(const Row& row) {
  const RowLayout& l = row.layout;
  if (l.global_batch) return *l.global_batch;
  if (l.dp && l.micro_batch) return std::int64_t{*l.dp} * *l.micro_batch * l.accumulation.value_or(1);
  return 0;
}

}  // namespace tw::validate
