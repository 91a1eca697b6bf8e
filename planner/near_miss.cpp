#include "planner/near_miss.hpp"

#include <fmt/format.h>

namespace tw {
namespace {

struct Change {
  Layout layout;
  std::string what;
};

std::vector<Change> changes_of(const SearchSpace& space, const Layout& layout) {
  std::vector<Change> out;
  const auto change = [&](LayoutKey key, std::string what, auto edit) {
    if (space.fixed.has(key)) return;
    Layout other = layout;
    edit(other);
    if (!(other == layout)) out.push_back({other, std::move(what)});
  };
  for (const Recompute& recompute : space.recomputes) {
    change(LayoutKey::recompute, "recompute=" + to_string(recompute),
           [&](Layout& l) { l.recompute = recompute; });
  }
  for (std::int32_t zero = layout.zero + 1; zero < 4; ++zero) {
    if ((space.zeros >> zero & 1) == 0 || (zero == 3 && layout.pp > 1 && !space.zero3_with_pp)) continue;
    change(LayoutKey::zero, fmt::format("zero={}", zero), [&](Layout& l) { l.zero = zero; });
  }
  for (std::int32_t mb = layout.mb / 2; mb >= 1; mb /= 2) {
    change(LayoutKey::mb, fmt::format("mb={}", mb), [&](Layout& l) { l.mb = mb; });
  }
  return out;
}

}  // namespace

NearMiss explain_miss(Evaluator& evaluator, const SearchSpace& space, const Layout& layout) {
  NearMiss out{layout, evaluator.cost(layout), {}, 0};
  for (const Change& change : changes_of(space, layout)) {
    if (!is_legal(change.layout, evaluator.context().job)) continue;
    const Cost cost = evaluator.cost(change.layout);
    if (!cost.fits || (!out.remedy.empty() && cost.step_seconds >= out.remedy_seconds)) continue;
    out.remedy = change.what, out.remedy_seconds = cost.step_seconds;
  }
  return out;
}

}  // namespace tw
