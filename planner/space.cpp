#include "planner/space.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "topology/check.hpp"

namespace tw {
namespace {

std::uint8_t schedule_mask(const std::vector<std::string>& names) {
  std::uint8_t mask = 0;
  const auto known = schedule_names();
  for (std::size_t i = 0; i < known.size(); ++i) {
    if (std::find(names.begin(), names.end(), known[i]) != names.end())
      mask = static_cast<std::uint8_t>(mask | 1u << i);
  }
  return mask;
}

constexpr std::uint8_t kAllSchedules = (1u << kSchedules) - 1, kAllZeros = 0b1111;

void add_abilities(SearchSpace& space, const Abilities& can) {
  const auto limit = [](bool can_it, std::int32_t most) { return can_it ? most : 1; };
  space.max_tp = limit(can.tp, space.max_tp), space.max_pp = limit(can.pp, space.max_pp);
  space.max_cp = limit(can.cp, space.max_cp), space.max_ep = limit(can.ep, space.max_ep);
  space.etp = can.etp, space.hsdp = can.hsdp, space.zero3_with_pp = can.zero3_with_pp;
  space.sp = can.sp_required_with_moe ? SpSearch::on_with_moe : SpSearch::both;
  space.schedules = static_cast<std::uint8_t>(schedule_mask(can.schedules) | mask_of(kSchedule1F1B));
  space.zeros = 0;
  for (const std::int32_t zero : can.zero) space.zeros = static_cast<std::uint8_t>(space.zeros | 1u << zero);
  space.zero0_with_dp = (space.zeros & 1u) != 0;
  space.zeros = static_cast<std::uint8_t>(space.zeros | 1u);
  space.vpp = can.pp && (space.schedules & ~(mask_of(kSchedule1F1B) | mask_of(kScheduleGpipe) |
                                             mask_of(kScheduleZbH1) | mask_of(kScheduleDualpipe))) != 0;
}

void add_recomputes(SearchSpace& space, const std::vector<std::string>& options) {
  space.recomputes.clear();
  for (const std::string& option : options) {
    const Recompute recompute = parse_recompute(option);
    const auto& known = space.recomputes;
    if (std::find(known.begin(), known.end(), recompute) == known.end())
      space.recomputes.push_back(recompute);
  }
  if (space.recomputes.empty()) space.recomputes.push_back({});
}

std::string list_of(const Abilities& can) {
  std::string zeros;
  for (const std::int32_t zero : can.zero) zeros += (zeros.empty() ? "" : ", ") + std::to_string(zero);
  return zeros;
}

}  // namespace

std::string_view limits_help() {
  return "Searched: every legal combination of dp, tp, pp, cp, ep, etp, vpp, sp, zero, hsdp, mb, recompute "
         "and "
         "schedule that the framework can run, with tp at most the GPUs of a node, mb a power of two, "
         "cp_kind=zigzag, "
         "a2a=direct, order=tp-cp-ep-dp-pp, offload=none and the default split of layers. --fix "
         "KEY=VALUE,... fixes "
         "keys, and so goes beyond a limit (tp=16, mb=3, cp_kind=ring).";
}

SearchSpace space_of(const Problem& problem, const std::string& fixed) {
  SearchSpace space;
  space.max_tp = problem.cluster.gpus_per_node();
  const Profile& profile = problem.inputs.profile;
  add_recomputes(space, profile.can.recompute);
  if (problem.inputs.any_framework) {
    space.schedules = kAllSchedules, space.zeros = kAllZeros;
  } else {
    add_abilities(space, profile.can);
  }
  space.precisions = mask_of(problem.inputs.precision);
  if (!fixed.empty()) space.fixed = parse_layout_keys(fixed, "--fix");
  if (space.fixed.has(LayoutKey::vpp) && space.fixed.value.vpp > 1) space.vpp = true;
  if (space.fixed.has(LayoutKey::precision) && space.fixed.value.precision != problem.inputs.precision) {
    throw InputError("command line", "--fix",
                     fmt::format("precision={} contradicts --precision {}",
                                 name_of(space.fixed.value.precision), name_of(problem.inputs.precision)));
  }
  return space;
}

std::string beyond_framework(const Profile& profile, const Model& model, const Layout& layout) {
  const Abilities& can = profile.can;
  const std::string schedule(schedule_names()[layout.schedule]);
  const auto among = [](const auto& list, const auto& value) {
    return std::find(list.begin(), list.end(), value) != list.end();
  };
  if (layout.pp > 1 && !among(can.schedules, schedule)) return "schedule=" + schedule;
  if (!among(can.zero, layout.zero) && layout.zero != 0) {
    return fmt::format("zero={} (it runs {})", layout.zero, list_of(can));
  }
  if (layout.hsdp != 0 && !can.hsdp) return "hsdp";
  if (layout.zero == 3 && layout.pp > 1 && !can.zero3_with_pp) return "zero=3 with pp above 1";
  if (model.has_moe() && layout.tp > 1 && !layout.sp && can.sp_required_with_moe)
    return "tp without sp for experts";
  if ((layout.tp > 1 && !can.tp) || (layout.pp > 1 && !can.pp) || (layout.cp > 1 && !can.cp) ||
      (layout.ep > 1 && !can.ep) || (layout.etp > 1 && !can.etp)) {
    return "this combination of dimensions";
  }
  return {};
}

}  // namespace tw
