#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "planner/preflight/check.hpp"
#include "planner/search.hpp"
#include "planner/space.hpp"
#include "reports/text.hpp"
#include "topology/check.hpp"

namespace tw::preflight {
namespace {

constexpr std::size_t kLookedAt = 64;    // layouts, best first
constexpr double kWorthAWarning = 0.10;  // of the step
constexpr double kWorthANote = 0.02;
constexpr double kMostOfTheGain = 0.5;    // that the nearest must have
constexpr std::int32_t kMostCounts = 16;  // numbers of GPUs that are tried

std::map<std::string, std::string> keys_of(const Layout& layout) {
  std::map<std::string, std::string> out;
  const std::string text = to_string(layout);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const std::size_t equals = text.find('=', at);
    out[text.substr(at, equals - at)] = text.substr(equals + 1, end - equals - 1);
    at = end + 1;
  }
  return out;
}

std::vector<std::string> changes(const Layout& from, const Layout& to) {
  const auto old = keys_of(from);
  std::vector<std::string> out;
  for (const auto& [key, value] : keys_of(to)) {
    const auto was = old.find(key);
    if (was == old.end() || was->second != value) out.push_back(key + "=" + value);
  }
  return out;
}

std::string joined_by_commas(const std::vector<std::string>& parts) {
  return fmt::format("{}", fmt::join(parts, ","));
}

// Of those with most of the gain, the one that differs in fewest keys; the faster of equals.
const RankedLayout& nearest(const std::vector<RankedLayout>& best, const Layout& own, double seconds) {
  const double enough = seconds - kMostOfTheGain * (seconds - best.front().cost.step_seconds);
  const RankedLayout* out = &best.front();
  std::size_t fewest = changes(own, out->layout).size();
  for (const RankedLayout& each : best) {
    if (each.cost.step_seconds > enough) break;
    if (const std::size_t count = changes(own, each.layout).size(); count < fewest)
      out = &each, fewest = count;
  }
  return *out;
}

void say_better(const Priced& priced, const Layout& own, const SearchResult& found, CheckResult& result) {
  const Prediction& p = *result.prediction;
  const double seconds = p.cost.step_seconds;
  const RankedLayout& to = p.cost.fits ? nearest(found.best, own, seconds) : found.best.front();
  const double gain = 1 - to.cost.step_seconds / seconds;
  if (p.cost.fits && gain < kWorthANote) return;
  const std::string how = joined_by_commas(changes(own, to.layout));
  result.better = BetterLayout{to.layout, to.cost.step_seconds, gain, how};
  Finding finding{gain > kWorthAWarning ? Severity::warn : Severity::note, "better", ""};
  if (p.cost.fits) {
    finding.text =
        fmt::format("{} takes {} a step, {:.0f}% less", how, seconds_text(to.cost.step_seconds), 100 * gain);
  } else {
    finding.severity = Severity::note;
    finding.text = fmt::format("{} fits, and takes {} a step", how, seconds_text(to.cost.step_seconds));
  }
  result.findings.push_back(std::move(finding));
  static_cast<void>(priced);
}

bool fits_on(const Inputs& inputs, std::int32_t gpus) {
  try {
    const Priced priced(inputs, gpus);
    return !search(priced.problem, space_of(priced.problem, ""), {.top = 1, .quick = true}, [](double) {
            }).best.empty();
  } catch (const InputError&) {  // no such number of this cluster's GPUs
    return false;
  }
}

// The next doublings.
void say_least_gpus(const Priced& priced, CheckResult& result) {
  std::int32_t gpus = priced.problem.job.gpus;
  for (std::int32_t i = 0; i < kMostCounts && gpus <= kMostGpus / 2; ++i) {
    gpus *= 2;
    if (!fits_on(priced.inputs, gpus)) continue;
    result.least_gpus = gpus;
    result.findings.push_back(
        {Severity::note, "gpus",
         fmt::format("no layout fits on {} GPUs; {} hold the job", priced.problem.job.gpus, gpus)});
    return;
  }
}

}  // namespace

void search_better(const Priced& priced, const Layout& layout, CheckResult& result) {
  const SearchResult found =
      search(priced.problem, space_of(priced.problem, ""), {.top = kLookedAt, .quick = true}, [](double) {});
  if (!found.best.empty()) return say_better(priced, layout, found, result);
  if (!result.prediction->cost.fits) say_least_gpus(priced, result);
}

}  // namespace tw::preflight
