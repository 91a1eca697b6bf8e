#include "planner/whatif/whatif.hpp"

#include <fmt/format.h>

#include <chrono>

#include "costmodel/layout/legality.hpp"
#include "planner/parallel.hpp"
#include "planner/search.hpp"
#include "planner/space.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

using Place = std::vector<std::size_t>;  // index of the value of each axis

std::vector<Place> places_of(const std::vector<VaryAxis>& axes) {
  std::vector<Place> out = {{}};
  for (const VaryAxis& axis : axes) {
    std::vector<Place> longer;
    for (const Place& place : out) {
      for (std::size_t i = 0; i < axis.values.size(); ++i) {
        longer.push_back(place);
        longer.back().push_back(i);
      }
    }
    out = std::move(longer);
    if (out.size() > kMostPoints)
      throw InputError("command line", "--vary", fmt::format("more than {} points; vary less", kMostPoints));
  }
  return out;
}

// An exchange that crosses nodes waits for the network, one inside for NVLink.
Resource link(bool network) {
  return network ? Resource::network : Resource::nvlink;
}

Resource resource_of(Term term, const Chain& chain) {
  const PassLinks& links = chain.pass->links;
  switch (term) {
    case Term::elementwise:
    case Term::embedding:
    case Term::optimizer:
      return Resource::memory_rate;
    case Term::tp:
      return link(links.tp.nodes > 1);
    case Term::cp:
      return link(links.cp.nodes > 1);
    case Term::ep:
      return link(links.ep.nodes > 1 || links.etp.nodes > 1);
    case Term::gather:
      return link(chain.state->gather.network_tier);
    case Term::reduce:
      return link(chain.state->reduce.network_tier);
    case Term::send:
      return link(chain.state->hop.nodes > 1);
    case Term::bubble:
      return Resource::pipeline;
    case Term::host:
      return Resource::host;
    case Term::stragglers:
      return Resource::stragglers;
    default:
      return Resource::compute;
  }
}

// A planned point with what is needed to price other layouts there.
struct PlannedPoint {
  Varied varied;
  std::unique_ptr<Problem> problem;
  WhatifPoint result;
};

void plan_point(PlannedPoint& point, const std::string& fixed, const ProgressReport& report) {
  point.problem = std::make_unique<Problem>(point.varied.inputs, point.varied.gpus);
  const Problem& problem = *point.problem;
  const SearchResult found = search(problem, space_of(problem, fixed), {.top = 1, .quick = true}, report);
  WhatifPoint& out = point.result;
  out.gpus = point.varied.gpus, out.gpus_per_node = problem.cluster.gpus_per_node();
  out.searched = found.searched;
  if (found.best.empty()) {
    out.why_not = found.searched.legal == 0 ? "no layout is legal" : "no layout fits in memory";
    return;
  }
  Evaluator evaluator(problem.job, problem.machine, problem.inputs.settings);
  out.best = predict(evaluator, found.best.front().layout);
  const Chain chain = evaluator.chain(out.best->layout);
  for (std::size_t i = 0; i < kTerms; ++i) {
    const Resource resource = resource_of(static_cast<Term>(i), chain);
    out.resources[static_cast<std::size_t>(resource)] += double{out.best->cost.terms.exposed[i]};
  }
}

std::vector<std::string> keys_of(const Layout& layout) {
  std::vector<std::string> out;
  const std::string text = to_string(layout);
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find(',', start), text.size());
    out.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return out;
}

// "ep 8 -> 32, pp 16 -> 8"; optional keys that stand in one only are said as they are.
std::string changed_keys(const Layout& from, const Layout& to) {
  const std::vector<std::string> before = keys_of(from), after = keys_of(to);
  std::string out;
  const auto say = [&](const std::string& text) { out += (out.empty() ? "" : ", ") + text; };
  for (std::size_t i = 0; i < std::max(before.size(), after.size()); ++i) {
    const std::string a = i < before.size() ? before[i] : "-", b = i < after.size() ? after[i] : "-";
    if (a == b) continue;
    const std::size_t equals = a.find('=');
    const bool same_key = equals != std::string::npos && b.starts_with(a.substr(0, equals + 1));
    say(same_key ? fmt::format("{} {} -> {}", a.substr(0, equals), a.substr(equals + 1), b.substr(equals + 1))
                 : a + " -> " + b);
  }
  return out;
}

std::optional<WinnerChange> change_between(const PlannedPoint& from, const PlannedPoint& to) {
  if (!from.result.best || !to.result.best) return std::nullopt;
  const Layout &old = from.result.best->layout, &now = to.result.best->layout;
  if (old == now) return std::nullopt;
  WinnerChange out;
  out.keys = changed_keys(old, now);
  const Problem& problem = *to.problem;
  if (!is_legal(old, problem.job)) return out;
  Evaluator evaluator(problem.job, problem.machine, problem.inputs.settings);
  const Cost cost = evaluator.cost(old);
  out.old_fits = cost.fits;
  out.behind = compare(to.result.best->cost, cost, evaluator.context().spread);
  return out;
}

std::vector<WinnerChange> changes_of(const std::vector<PlannedPoint>& points,
                                     const std::vector<VaryAxis>& axes) {
  std::vector<WinnerChange> out;
  std::size_t stride = points.size();
  for (std::size_t axis = 0; axis < axes.size(); ++axis) {
    const std::size_t values = axes[axis].values.size();
    stride /= values;
    for (std::size_t i = 0; i < points.size(); ++i) {
      if (i / stride % values + 1 == values) continue;
      std::optional<WinnerChange> change = change_between(points[i], points[i + stride]);
      if (!change) continue;
      change->axis = axis, change->from = i, change->to = i + stride;
      out.push_back(std::move(*change));
    }
  }
  return out;
}

}  // namespace

WhatifResult make_whatif(const Inputs& inputs, const WhatifSettings& settings) {
  const auto start = std::chrono::steady_clock::now();
  const std::vector<Place> places = places_of(settings.axes);
  std::vector<PlannedPoint> points;
  points.reserve(places.size());
  for (const Place& place : places) {
    points.push_back(
        {varied(inputs, inputs.cluster.gpus, settings.calibration, settings.axes, place), {}, {}});
    for (std::size_t i = 0; i < place.size(); ++i)
      points.back().result.values.push_back(settings.axes[i].values[place[i]]);
  }
  JointProgress progress(settings.progress, "what if", points.size());
  for_each_parallel(points.size(),
                    [&](std::size_t i) { plan_point(points[i], settings.fixed, progress.report(i)); });
  WhatifResult out;
  out.question = question_of(Problem(inputs, inputs.cluster.gpus)), out.fixed = settings.fixed;
  for (const VaryAxis& axis : settings.axes) out.axes.emplace_back(axis.variable->name);
  out.changes = changes_of(points, settings.axes);
  for (PlannedPoint& point : points) out.points.push_back(std::move(point.result));
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return out;
}

}  // namespace tw
