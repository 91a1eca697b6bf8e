#include <fmt/format.h>

#include <algorithm>

#include "reports/text.hpp"
#include "reports/whatif_result.hpp"

namespace tw {
namespace {

std::string percent(double share) {
  return fmt::format("{:.0f}%", 100 * share);
}

// The largest two of what the step waits for.
std::string binds(const WhatifPoint& point) {
  std::vector<std::size_t> order(kResources);
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return point.resources[a] > point.resources[b]; });
  const double step = point.best->cost.step_seconds;
  std::string out;
  for (std::size_t i = 0; i < 2; ++i) {
    out += fmt::format("{}{} {}", i > 0 ? ", " : "", name_of(static_cast<Resource>(order[i])),
                       percent(point.resources[order[i]] / step));
  }
  return out;
}

const WhatifPoint* fastest(const WhatifResult& r) {
  const auto step = [](const WhatifPoint& p) { return p.best->cost.step_seconds; };
  const WhatifPoint* out = nullptr;
  for (const WhatifPoint& point : r.points) {
    if (point.best && (!out || step(point) < step(*out))) out = &point;
  }
  return out;
}

std::string values_text(const WhatifResult& r, const WhatifPoint& point) {
  std::string out;
  for (std::size_t i = 0; i < r.axes.size(); ++i)
    out += fmt::format("{}{}={}", i > 0 ? ", " : "", r.axes[i], point.values[i]);
  return out;
}

}  // namespace

std::string answer_of(const WhatifResult& r) {
  const WhatifPoint* best = fastest(r);
  if (!best) return "no layout fits at any point";
  return fmt::format(
      "fastest at {}: {} per step, MFU {:.1f}%; the winner changes between {} of the neighbours",
      values_text(r, *best), seconds_text(best->best->cost.step_seconds), 100 * best->best->mfu,
      r.changes.empty() ? "none" : std::to_string(r.changes.size()));
}

namespace {

std::string points_table(const WhatifResult& r, int width) {
  std::vector<Column> columns;
  for (const std::string& axis : r.axes) columns.push_back({axis});
  for (const Column& column : std::vector<Column>{{"GPUs of a node", Align::right, 5},
                                                  {"step"},
                                                  {"MFU", Align::right, 2},
                                                  {"peak GiB", Align::right, 4},
                                                  {"waits for most", Align::left, 1},
                                                  {"layout", Align::left, 3}})
    columns.push_back(column);
  Table table(columns);
  for (const WhatifPoint& point : r.points) {
    std::vector<std::string> cells = point.values;
    cells.push_back(std::to_string(point.gpus_per_node));
    if (point.best) {
      const Prediction& p = *point.best;
      for (const std::string& cell :
           {seconds_text(p.cost.step_seconds), fmt::format("{:.1f}%", 100 * p.mfu),
            fmt::format("{:.1f}", in_gib(Bytes(p.cost.memory.total()))), binds(point), to_string(p.layout)})
        cells.push_back(cell);
    } else {
      for (const std::string& cell :
           {std::string("-"), std::string("-"), std::string("-"), std::string("-"), point.why_not})
        cells.push_back(cell);
    }
    table.row(std::move(cells));
  }
  return table.text(width);
}

}  // namespace

std::string behind_text(const WinnerChange& change) {
  if (!change.old_fits)
    return change.behind.seconds == 0 ? "the old layout is not legal there"
                                      : "the old layout does not fit there";
  std::string out = fmt::format("the old layout would take {} more", seconds_text(change.behind.seconds));
  std::size_t said = 0;
  for (const TermDifference& term : change.behind.terms) {
    if (said++ == 3) break;
    out += fmt::format("{} {} {}{}", said == 1 ? ":" : ",", name_of(term.term), term.seconds < 0 ? "-" : "+",
                       seconds_text(std::abs(term.seconds)));
  }
  return out + (change.behind.distinguishable ? "" : "; not distinguishable");
}

namespace {

std::string changes_text(const WhatifResult& r, int width) {
  if (r.changes.empty()) return "\nThe same layout wins everywhere.\n";
  std::string out = "\nWhere the winner changes, and why\n";
  for (const WinnerChange& change : r.changes) {
    const WhatifPoint &from = r.points[change.from], &to = r.points[change.to];
    std::string others;
    for (std::size_t i = 0; i < r.axes.size(); ++i) {
      if (i != change.axis)
        others += fmt::format("{}{}={}", others.empty() ? " at " : ", ", r.axes[i], from.values[i]);
    }
    out += wrapped(fmt::format("  {} {} -> {}{}: {}; {}", r.axes[change.axis], from.values[change.axis],
                               to.values[change.axis], others, change.keys, behind_text(change)),
                   width, 4);
  }
  return out;
}

}  // namespace

std::string to_text(const WhatifResult& r, const Terminal& terminal, bool quiet) {
  const int width = terminal.width;
  std::string out = bold(wrapped(answer_of(r), width, 2), terminal);
  if (quiet) return out;
  const Question& q = r.question;
  out += wrapped(fmt::format("{} on {} x {}, {} sequences of {} tokens, framework {}, calibration {}{}; {} "
                             "full plans in {:.1f} s; nothing left out",
                             q.model, q.gpus, q.cluster, q.global_batch, q.seq, q.framework, q.calibration,
                             r.fixed.empty() ? "" : ", fixed " + r.fixed, r.points.size(), r.seconds),
                 width, 2);
  return out + "\n" + points_table(r, width) + changes_text(r, width);
}

}  // namespace tw
