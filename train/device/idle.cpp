#include "train/device/idle.hpp"

#include "train/operators.hpp"

namespace tw::train {
namespace {

bool is(const Step& step, Action action, std::int32_t unit) {
  return step.action == action && step.unit == unit;
}

bool reads(const View& view, const Step& step, std::int32_t unit) {
  if (step.action != Action::op) return false;
  const WeightUse use = weight_use(view, operands_of(step, view.units()), step.unit);
  return use.read && use.unit == unit;
}

// The release of what step `at` gathers, where nothing reads it before; else 0.
std::size_t unread_until(const View& view, std::size_t at) {
  const std::span<const Step> steps = view.steps();
  const std::int32_t unit = steps[at].unit;
  for (std::size_t i = at + 1; i < steps.size(); ++i) {
    if (is(steps[i], Action::release, unit)) return i;
    if (reads(view, steps[i], unit)) return 0;
  }
  return 0;
}

// The gather of what step `at` releases, where only other traffic of parameters lies between; else 0.
std::size_t gathered_again(const View& view, std::size_t at, const std::vector<bool>& idle) {
  const std::span<const Step> steps = view.steps();
  for (std::size_t i = at + 1; i < steps.size(); ++i) {
    if (is(steps[i], Action::gather, steps[at].unit)) return idle[i] ? 0 : i;
    if (steps[i].action != Action::gather && steps[i].action != Action::release) return 0;
  }
  return 0;
}

}  // namespace

std::vector<bool> idle_traffic(const View& view) {
  const std::span<const Step> steps = view.steps();
  std::vector<bool> out(steps.size(), false);
  if (!view.program().cuts_parameters()) return out;
  const auto mark = [&](std::size_t one, std::size_t other) {
    if (other > 0) out[one] = out[other] = true;
  };
  for (std::size_t i = 0; i < steps.size(); ++i)
    if (steps[i].action == Action::gather) mark(i, unread_until(view, i));
  for (std::size_t i = 0; i < steps.size(); ++i)
    if (steps[i].action == Action::release && !out[i]) mark(i, gathered_again(view, i, out));
  return out;
}

}  // namespace tw::train
