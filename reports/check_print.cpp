#include <fmt/format.h>

#include <algorithm>

#include "reports/check_result.hpp"
#include "reports/json_parts.hpp"
#include "reports/text.hpp"

namespace tw {
namespace {

constexpr std::string_view kVerdicts[] = {"pass", "warn", "fail"};

std::string_view verdict_name(Severity severity) {
  return kVerdicts[static_cast<std::size_t>(severity)];
}

std::string_view kind_name(OptionKind kind) {
  return enum_names(&kind)[static_cast<std::size_t>(kind)].second;
}

Json options_json(const std::vector<ReadOption>& options) {
  Json out = Json::array();
  for (const ReadOption& each : options) {
    out.push(
        Json::object().set("name", each.name).set("value", each.value).set("class", kind_name(each.kind)));
  }
  return out;
}

Json findings_json(const std::vector<Finding>& findings) {
  Json out = Json::array();
  for (const Finding& each : findings) {
    out.push(Json::object()
                 .set("severity", name_of(each.severity))
                 .set("about", each.about)
                 .set("text", each.text));
  }
  return out;
}

Json measured_json(const MeasuredStep& m) {
  Json terms = Json::array();
  for (const MeasuredTerm& each : m.terms) {
    terms.push(Json::object()
                   .set("name", each.name)
                   .set("measured_s", each.measured)
                   .set("predicted_s", each.predicted));
  }
  Json out =
      Json::object().set("step_time_s", m.step_seconds).set("ratio", m.ratio).set("inside_band", m.inside);
  if (m.assigned > 0) out.set("assigned", m.assigned).set("unassigned", m.unassigned);
  return out.set("terms", terms);
}

// Worst first; notes last.
std::vector<Finding> by_severity(std::vector<Finding> findings) {
  std::stable_sort(findings.begin(), findings.end(),
                   [](const Finding& a, const Finding& b) { return a.severity > b.severity; });
  return findings;
}

std::string headline(const CheckResult& r) {
  std::string out(verdict_name(r.verdict()));
  for (const Finding& each : by_severity(r.findings)) {
    if (each.severity != r.verdict() || each.severity == Severity::note) continue;
    return out + ": " + each.text;
  }
  if (r.prediction) {
    const Prediction& p = *r.prediction;
    out += fmt::format(": step {} (80% band {} to {}), {} of {} usable", seconds_text(p.cost.step_seconds),
                       seconds_text(p.low_seconds), seconds_text(p.high_seconds),
                       gib_text(p.cost.memory.total()), gib_text(p.limit.count));
  }
  return out;
}

std::string job_text(const CheckResult& r) {
  std::string out;
  if (r.question) {
    const Question& q = *r.question;
    out += fmt::format("{} on {} x {}, {} sequences of {} tokens, framework {}, calibration {} ({})\n",
                       q.model, q.gpus, q.cluster, q.global_batch, q.seq, q.framework, q.calibration,
                       q.calibration_source);
  }
  if (r.layout) out += "layout " + to_string(*r.layout) + "\n";
  if (r.prediction && r.verdict() == Severity::fail) {
    const Prediction& p = *r.prediction;
    out += fmt::format("step {} if it ran\n", seconds_text(p.cost.step_seconds));
  } else if (r.prediction) {
    const Prediction& p = *r.prediction;
    out += fmt::format("step {} (80% band {} to {}), {} tokens/s/GPU, MFU {:.1f}%\n",
                       seconds_text(p.cost.step_seconds), seconds_text(p.low_seconds),
                       seconds_text(p.high_seconds),
                       count_text(static_cast<std::int64_t>(p.tokens_per_s_per_gpu)), 100 * p.mfu);
  }
  return out;
}

std::string options_text(const CheckResult& r, int width) {
  if (r.options.empty()) return "";
  std::string out = fmt::format("\n{} options of {} (its parser at {})", r.options.size(), r.launch,
                                r.commit.substr(0, 12));
  for (const OptionKind kind :
       {OptionKind::layout, OptionKind::cost, OptionKind::irrelevant, OptionKind::unknown}) {
    std::string names;
    int count = 0;
    for (const ReadOption& each : r.options) {
      if (each.kind == kind) names += (names.empty() ? "" : " ") + each.name, ++count;
    }
    if (count > 0) out += "\n" + wrapped(fmt::format("  {} {}: {}", kind_name(kind), count, names), width, 4);
    if (out.ends_with('\n')) out.pop_back();
  }
  return out + "\n";
}

std::string measured_text(const MeasuredStep& m, int width) {
  std::string out = fmt::format("\nmeasured step {}: predicted over measured {:.3f}, {} the 80% band\n",
                                seconds_text(m.step_seconds), m.ratio, m.inside ? "inside" : "outside");
  if (m.terms.empty()) return out;
  out += fmt::format("{:.1f}% of the profile's device time has a term; the rest: {}\n", 100 * m.assigned,
                     m.unassigned.empty() ? "nothing" : m.unassigned);
  Table table({{"term", Align::left}, {"measured"}, {"predicted"}, {"difference"}});
  for (const MeasuredTerm& each : m.terms) {
    table.row({each.name, seconds_text(each.measured), seconds_text(each.predicted),
               fmt::format("{:+.1f} ms", in_ms(Seconds(each.measured - each.predicted)))});
  }
  return out + table.text(width);
}

}  // namespace

std::string_view name_of(Severity severity) {
  constexpr std::string_view kNames[] = {"note", "warn", "fail"};
  return kNames[static_cast<std::size_t>(severity)];
}

Severity CheckResult::verdict() const {
  Severity out = Severity::note;
  for (const Finding& each : findings) out = std::max(out, each.severity);
  return out;
}

Json to_json(const CheckResult& r) {
  Json out = Json::object().set("schema", kCheckSchema).set("verdict", verdict_name(r.verdict()));
  out.set("answer", headline(r));
  out.set("launch", r.launch).set("format", r.format).set("parser_commit", r.commit);
  out.set("findings", findings_json(r.findings)).set("options", options_json(r.options));
  if (r.question) add_question(out, *r.question);
  if (r.layout) out.set("layout", to_string(*r.layout));
  if (r.prediction) add_prediction(out, *r.prediction);
  if (r.better) {
    out.set("better", Json::object()
                          .set("layout", to_string(r.better->layout))
                          .set("changes", r.better->changes)
                          .set("step_time_s", r.better->step_seconds)
                          .set("gain", r.better->gain));
  }
  if (r.least_gpus) out.set("least_gpus", *r.least_gpus);
  if (r.measured) out.set("measured", measured_json(*r.measured));
  return out;
}

std::string to_text(const CheckResult& r, const Terminal& terminal, bool quiet) {
  std::string out = bold(headline(r), terminal) + "\n";
  if (quiet) return out;
  out += job_text(r);
  if (!r.findings.empty()) out += "\n";
  for (const Finding& each : by_severity(r.findings))
    out +=
        wrapped(fmt::format("{} {}: {}", name_of(each.severity), each.about, each.text), terminal.width, 5);
  if (r.measured) out += measured_text(*r.measured, terminal.width);
  return out + options_text(r, terminal.width);
}

}  // namespace tw
