#include "planner/preflight/measured.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "planner/preflight/profile_trace.hpp"
#include "reports/text.hpp"
#include "topology/check.hpp"
#include "topology/units.hpp"

namespace tw::preflight {
namespace {

constexpr std::size_t kNamedGaps = 3;
constexpr double kEnoughAssigned = 0.9;

double seconds_of(const std::string& text) {
  const Parsed<Seconds> parsed = parse_unit<Seconds>(text);
  if (!parsed.value)
    throw InputError("command line", "--measured", fmt::format("\"{}\": {}", printable(text), parsed.error));
  if (!(parsed.value->value > 0)) throw InputError("command line", "--measured", "must be above 0");
  return parsed.value->value;
}

// Terms that a profile shows as device time, and those that it shows as nothing running.
bool is_waiting(Term term) {
  return term == Term::host || term == Term::bubble || term == Term::stragglers;
}

std::vector<MeasuredTerm> terms_of(const TraceTimes& trace, const Prediction& p) {
  std::vector<MeasuredTerm> out;
  double waiting = 0;
  for (const TermPrediction& each : p.terms) {
    if (each.term == Term::interference) continue;  // inside the kernels it slows
    if (is_waiting(each.term)) {
      waiting += each.exposed;
      continue;
    }
    const auto found = trace.seconds.find(each.term);
    const double seconds = found == trace.seconds.end() ? 0 : found->second;
    if (seconds > 0 || each.seconds > 0)
      out.push_back({std::string(name_of(each.term)), seconds, each.seconds});
  }
  for (const auto& [term, seconds] : trace.seconds) {
    const bool there = std::any_of(out.begin(), out.end(),
                                   [&](const MeasuredTerm& each) { return each.name == name_of(term); });
    if (!there) out.push_back({std::string(name_of(term)), seconds, 0});
  }
  out.push_back({"idle", trace.idle, waiting});
  std::sort(out.begin(), out.end(), [](const MeasuredTerm& a, const MeasuredTerm& b) {
    return std::abs(a.measured - a.predicted) > std::abs(b.measured - b.predicted);
  });
  return out;
}

void name_gaps(const MeasuredStep& m, CheckResult& result) {
  std::string text;
  for (std::size_t i = 0; i < std::min(kNamedGaps, m.terms.size()); ++i) {
    const MeasuredTerm& each = m.terms[i];
    text += fmt::format("{}{} {:+.1f} ms ({} measured, {} predicted)", i > 0 ? "; " : "", each.name,
                        in_ms(Seconds(each.measured - each.predicted)), seconds_text(each.measured),
                        seconds_text(each.predicted));
  }
  result.findings.push_back({Severity::note, "measured", "largest gaps: " + text});
}

}  // namespace

void judge_measured(const MeasuredAsk& ask, CheckResult& result) {
  if (!result.prediction)
    throw InputError("command line", "--measured",
                     "there is no prediction to hold it against: the layout is not legal");
  const Prediction& p = *result.prediction;
  MeasuredStep m;
  std::optional<TraceTimes> trace;
  if (!ask.profile.empty()) trace = read_trace(ask.profile, p.layout, result.vocabulary);
  m.step_seconds = ask.step.empty() ? trace->step_seconds : seconds_of(ask.step);
  m.ratio = p.cost.step_seconds / m.step_seconds;
  m.inside = p.low_seconds <= m.step_seconds && m.step_seconds <= p.high_seconds;
  if (trace) {
    m.terms = terms_of(*trace, p);
    m.assigned = trace->assigned / trace->busy;
    for (std::size_t i = 0; i < std::min(kNamedGaps, trace->rest.size()); ++i)
      m.unassigned += (i > 0 ? ", " : "") + printable(trace->rest[i].first, 40);
  }
  const double slower = m.step_seconds / p.cost.step_seconds - 1;
  result.findings.push_back(
      {m.step_seconds > p.high_seconds ? Severity::warn : Severity::note, "measured",
       fmt::format("the measured step of {} is {:.0f}% {} than predicted, {} the 80% band of {} to {}",
                   seconds_text(m.step_seconds), std::abs(100 * slower), slower > 0 ? "slower" : "faster",
                   m.inside ? "inside" : "outside", seconds_text(p.low_seconds),
                   seconds_text(p.high_seconds))});
  if (trace && m.assigned < kEnoughAssigned) {
    result.findings.push_back({Severity::warn, "measured",
                               fmt::format("{:.0f}% of the profile's device time has no term: {}",
                                           100 * (1 - m.assigned), m.unassigned)});
  }
  if (trace) name_gaps(m, result);
  result.measured = std::move(m);
}

}  // namespace tw::preflight
