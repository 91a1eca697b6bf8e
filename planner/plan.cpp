#include "planner/plan.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "costmodel/sim/simulate.hpp"
#include "planner/progress.hpp"
#include "planner/search.hpp"
#include "planner/space.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

[[noreturn]] void fail_gpus(const std::string& text, const std::string& why) {
  throw InputError(
      "command line", "--gpus",
      fmt::format("\"{}\": {}; legal: 64, 64,128,256, or 64..1024 for doublings", printable(text), why));
}

std::int32_t one_count(const std::string& whole, const std::string& piece) {
  try {
    return static_cast<std::int32_t>(whole_number("--gpus", piece, 1, kMostGpus));
  } catch (const InputError&) {
    fail_gpus(whole, fmt::format("\"{}\" is not a whole number from 1 to {}", printable(piece), kMostGpus));
  }
}

std::vector<std::int32_t> doublings(const std::string& text, std::size_t dots) {
  const std::int32_t first = one_count(text, text.substr(0, dots)),
                     last = one_count(text, text.substr(dots + 2));
  if (first > last) fail_gpus(text, "the range is empty");
  std::vector<std::int32_t> out;
  for (std::int32_t gpus = first; gpus <= last; gpus *= 2) out.push_back(gpus);
  return out;
}

CountResult plan_one(const Inputs& inputs, const PlanSettings& settings, std::int32_t gpus,
                     Question& question) {
  const Problem problem(inputs, gpus);
  question = question_of(problem);
  const SearchSpace space = space_of(problem, settings.fixed);
  Progress progress(settings.progress, fmt::format("{} GPUs", gpus));
  const SearchResult found = search(problem, space, {.top = settings.top}, progress.report());
  Evaluator evaluator(problem.job, problem.machine, inputs.settings);
  CountResult out;
  out.gpus = gpus, out.searched = found.searched, out.near_misses = found.near_misses;
  out.limit = evaluator.context().limit, out.nothing_legal = found.nothing_legal;
  for (const RankedLayout& each : found.best) {
    out.best.push_back(predict(evaluator, each.layout));
    out.behind.push_back(compare(found.best.front().cost, each.cost, evaluator.context().spread));
    if (!settings.simulate || out.simulated.size() == kMostSimulated) continue;
    SimSettings shared;
    shared.contention = true;
    out.simulated.push_back(simulate(evaluator, each.layout, inputs.settings.routing, shared).seconds);
  }
  return out;
}

double value_of(const CountResult& count, Objective objective) {
  const double step = count.best.front().cost.step_seconds;
  if (objective == Objective::time) return step;
  return objective == Objective::cost ? step * count.gpus : count.gpus;
}

// The first by the objective; where nothing fits, the largest number of GPUs, which is nearest.
std::size_t answer_of(const std::vector<CountResult>& counts, Objective objective) {
  std::size_t answer = counts.size() - 1;
  bool found = false;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i].best.empty()) continue;
    if (found && value_of(counts[i], objective) >= value_of(counts[answer], objective)) continue;
    answer = i, found = true;
  }
  return answer;
}

std::string_view name_of(Objective objective) {
  constexpr std::string_view names[] = {"time", "cost", "gpus"};
  return names[static_cast<std::size_t>(objective)];
}

}  // namespace

Objective parse_objective(const std::string& text) {
  for (const Objective each : {Objective::time, Objective::cost, Objective::gpus}) {
    if (name_of(each) == text) return each;
  }
  throw InputError("command line", "--objective",
                   fmt::format("\"{}\" is unknown; legal: time, cost, gpus", printable(text)));
}

std::vector<std::int32_t> parse_gpus(const std::string& text) {
  if (const std::size_t dots = text.find(".."); dots != std::string::npos) return doublings(text, dots);
  std::vector<std::int32_t> out;
  for (std::size_t start = 0;;) {
    const std::size_t comma = text.find(',', start);
    out.push_back(one_count(text, text.substr(start, comma - start)));
    if (comma == std::string::npos) break;
    start = comma + 1;
  }
  std::sort(out.begin(), out.end());
  if (std::adjacent_find(out.begin(), out.end()) != out.end()) fail_gpus(text, "a number stands twice");
  return out;
}

PlanResult make_plan(const Inputs& inputs, const PlanSettings& settings) {
  TW_CHECK(!settings.gpus.empty());
  PlanResult out;
  out.objective = name_of(settings.objective), out.fixed = settings.fixed;
  Question question;
  for (const std::int32_t gpus : settings.gpus) {
    out.counts.push_back(plan_one(inputs, settings, gpus, question));
  }
  out.question = question;
  out.answer = answer_of(out.counts, settings.objective);
  return out;
}

}  // namespace tw
