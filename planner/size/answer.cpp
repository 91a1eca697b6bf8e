// Which rows answer: the cheapest and the fastest inside the limits, or how far the nearest are outside.
#include <fmt/format.h>

#include <functional>

#include "planner/size/size.hpp"
#include "reports/text.hpp"

namespace tw {
namespace {

using Value = std::function<double(const SizeRow&)>;
using Legal = std::function<bool(const SizeRow&)>;

std::optional<std::size_t> least(const std::vector<SizeRow>& rows, const Value& value, const Legal& legal) {
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].why_not.empty() || !legal(rows[i])) continue;
    if (!best || value(rows[i]) < value(rows[*best])) best = i;
  }
  return best;
}

double days_of(const SizeRow& row) {
  return row.time.value;
}
// Without a price, GPU-hours stand for dollars.
double cost_of(const SizeRow& row) {
  return row.cost ? row.cost->value : row.gpu_hours;
}

struct Limits {
  const SizeResult& result;
  bool in_time(const SizeRow& row) const { return !result.deadline || row.time <= *result.deadline; }
  bool in_budget(const SizeRow& row) const { return !result.budget || *row.cost <= *result.budget; }
};

std::string price_of(const SizeRow& row) {
  return row.cost ? dollars_text(*row.cost) : hours_text(row.gpu_hours) + " GPU-hours";
}

std::string row_text(const SizeRow& row) {
  return fmt::format("{} GPUs{}: {}, {}", count_text(row.gpus),
                     row.spare_nodes > 0 ? fmt::format(" and {} spare nodes", row.spare_nodes) : "",
                     days_text(row.time), price_of(row));
}

std::string inside_text(const SizeResult& r) {
  std::string out;
  if (r.deadline) out += " in " + days_text(*r.deadline);
  if (r.budget) out += " for " + dollars_text(*r.budget);
  return out;
}

void say_nearest(SizeResult& r) {
  const Limits limits{r};
  const auto any = [](const SizeRow&) { return true; };
  const auto in_time = [&](const SizeRow& row) { return limits.in_time(row); };
  const auto in_budget = [&](const SizeRow& row) { return limits.in_budget(row); };
  const auto timely = least(r.rows, cost_of, in_time), affordable = least(r.rows, days_of, in_budget);
  if (r.deadline && r.budget && timely && affordable) {
    r.nearest.push_back(
        fmt::format("the deadline and the budget contradict each other: {} is in time and {} over",
                    row_text(r.rows[*timely]), dollars_text(*r.rows[*timely].cost - *r.budget)));
    r.nearest.push_back(fmt::format("{} is in budget and {} late", row_text(r.rows[*affordable]),
                                    days_text(r.rows[*affordable].time - *r.deadline)));
    return;
  }
  if (r.deadline && !timely) {
    const SizeRow& row = r.rows[*least(r.rows, days_of, any)];
    r.nearest.push_back(
        fmt::format("no number of GPUs asked for meets the deadline; the fastest is {} late: {}",
                    days_text(row.time - *r.deadline), row_text(row)));
  }
  if (r.budget && !affordable) {
    const SizeRow& row = r.rows[*least(r.rows, cost_of, any)];
    r.nearest.push_back(
        fmt::format("no number of GPUs asked for is in the budget; the cheapest is {} over: {}",
                    dollars_text(*row.cost - *r.budget), row_text(row)));
  }
}

// Of the first row that has one; where memory refuses, the last row is the nearest.
std::string nothing_text(const SizeResult& r) {
  const SizeRow& last = r.rows.back();
  return fmt::format("no layout on {}: {}",
                     r.rows.size() == 1 ? fmt::format("{} GPUs", count_text(last.gpus))
                                        : fmt::format("{} to {} GPUs", count_text(r.rows.front().gpus),
                                                      count_text(last.gpus)),
                     last.why_not);
}

}  // namespace

void answer_size(SizeResult& r) {
  const Limits limits{r};
  const auto inside = [&](const SizeRow& row) { return limits.in_time(row) && limits.in_budget(row); };
  const auto any = [](const SizeRow&) { return true; };
  r.cheapest = least(r.rows, cost_of, inside), r.fastest = least(r.rows, days_of, inside);
  if (!least(r.rows, days_of, any)) {
    r.answer = nothing_text(r);
    return;
  }
  if (!r.cheapest) {
    r.answer = "nothing trains " + tokens_text(r.tokens) + " tokens" + inside_text(r);
    return say_nearest(r);
  }
  const std::string limited = inside_text(r);
  r.answer = fmt::format("cheapest{}{}: {}", limited.empty() ? "" : " that trains it", limited,
                         row_text(r.rows[*r.cheapest]));
  if (*r.fastest != *r.cheapest) r.answer += fmt::format("; fastest: {}", row_text(r.rows[*r.fastest]));
}

}  // namespace tw
