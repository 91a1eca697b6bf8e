#include "planner/validate/study_print.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace tw::validate {
namespace {

constexpr double kPerCent = 100;

std::string figure(double value, Quantity compare) {
  switch (compare) {
    case Quantity::unique_tokens:
    case Quantity::tokens:
      return fmt::format("{:.0f} tokens/s", value);
    case Quantity::mfu:
      return fmt::format("{:.1f}% MFU", kPerCent * value);
    case Quantity::time:
      return value < 1 ? fmt::format("{:.2f} ms", in_ms(Seconds(value))) : fmt::format("{:.3f} s", value);
    case Quantity::memory:
      return fmt::format("{:.2f} GiB", in_gib(Bytes(static_cast<std::int64_t>(value))));
    case Quantity::fits:
      return value > 0 ? "fits" : "does not fit";
  }
  return {};
}

std::string_view name_of(Quantity compare) {
  for (const auto& [value, name] : enum_names(static_cast<const Quantity*>(nullptr))) {
    if (value == compare) return name;
  }
  return {};
}

std::string case_line(const PredictedCase& one, Quantity compare, std::size_t width) {
  std::string out = fmt::format("  {:<{}}  {:>18}  {:>18}", one.name, width, figure(one.predicted, compare),
                                figure(one.measured, compare));
  if (compare == Quantity::fits)
    return out + fmt::format("  {:.1f} of {:.1f} GiB\n", one.memory_gib, one.limit_gib);
  return out + fmt::format("  {:>6.3f}\n", one.predicted / one.measured);
}

// Terms of a tenth of the largest and more, in microseconds of one unique token.
std::string why_line(const std::vector<TermDifference>& why) {
  if (why.empty()) return {};
  constexpr double kWorthSaying = 0.1;
  std::string out;
  double total = 0;
  for (const TermDifference& term : why) {
    total += term.seconds;
    if (std::abs(term.seconds) < kWorthSaying * std::abs(why.front().seconds)) continue;
    out += fmt::format("{}{} {:+.2f}", out.empty() ? "" : ", ", tw::name_of(term.term),
                       in_us(Seconds(term.seconds)));
  }
  return fmt::format("  why: the last needs {:+.2f} us more for each unique token: {}\n",
                     in_us(Seconds(total)), out);
}

std::string verdict(const AnsweredStudy& a) {
  std::string out = a.right ? "right" : "WRONG";
  out += fmt::format(", {} of {}", a.pairs_right, a.pairs);
  out += a.study.compare == Quantity::fits ? " cases" : " pairs in order";
  if (a.accurate)
    out += fmt::format("; {} within {:.0f}%", *a.accurate ? "all" : "NOT all", kPerCent * *a.study.within);
  return out;
}

std::string study_text(const AnsweredStudy& a) {
  std::string out = fmt::format("{}: {}\n", a.study.name, a.study.question);
  std::size_t width = 0;
  for (const PredictedCase& one : a.cases) width = std::max(width, one.name.size());
  out += fmt::format("  {:<{}}  {:>18}  {:>18}  {:>6}\n", "", width, "predicted", "measured", "ratio");
  for (const PredictedCase& one : a.cases) out += case_line(one, a.study.compare, width);
  if (a.study.compare == Quantity::fits) return out + "  " + verdict(a) + "\n\n";
  out += fmt::format(
      "  better: {} (measured {}), best over worst {:.2f} (measured {:.2f}); {}; mean error {:.1f}%\n",
      a.best, a.study.better, a.predicted_ratio, a.measured_ratio, verdict(a), kPerCent * a.mean_error);
  return out + why_line(a.why) + "\n";
}

Json case_json(const PredictedCase& one, Quantity compare) {
  Json out = Json::object().set("name", one.name);
  if (compare == Quantity::fits) {
    out.set("predicted", one.predicted > 0).set("measured", one.measured > 0);
  } else {
    out.set("predicted", one.predicted)
        .set("measured", one.measured)
        .set("ratio", one.predicted / one.measured);
  }
  if (!one.layout.empty()) out.set("layout", one.layout).set("framework", one.framework);
  if (one.step_time_s > 0) out.set("step_time_s", one.step_time_s);
  if (one.memory_gib > 0) out.set("memory_gib", one.memory_gib).set("memory_limit_gib", one.limit_gib);
  return out;
}

Json study_json(const AnsweredStudy& a) {
  Json cases = Json::array(), why = Json::array();
  for (const PredictedCase& one : a.cases) cases.push(case_json(one, a.study.compare));
  for (const TermDifference& term : a.why)
    why.push(Json::object().set("name", tw::name_of(term.term)).set("seconds_per_token", term.seconds));
  Json out = Json::object().set("name", a.study.name).set("question", a.study.question);
  out.set("compare", name_of(a.study.compare)).set("cases", std::move(cases)).set("right", a.right);
  out.set("pairs", a.pairs).set("pairs_right", a.pairs_right);
  if (a.accurate) out.set("within", *a.study.within).set("accurate", *a.accurate);
  if (a.study.compare == Quantity::fits) return out;
  out.set("better", Json::object().set("predicted", a.best).set("measured", a.study.better));
  out.set("ratio", Json::object().set("predicted", a.predicted_ratio).set("measured", a.measured_ratio));
  out.set("mean_error", kPerCent * a.mean_error).set("worst_error", kPerCent * a.worst_error);
  return std::move(out.set("why", std::move(why)));
}

}  // namespace

std::string answer_of(const std::vector<AnsweredStudy>& studies) {
  const auto right =
      std::count_if(studies.begin(), studies.end(), [](const auto& each) { return each.right; });
  return fmt::format("{} of {} questions right", right, studies.size());
}

std::string text_of(const std::vector<AnsweredStudy>& studies) {
  std::string out;
  for (const AnsweredStudy& each : studies) out += study_text(each);
  return out + answer_of(studies) + "\n";
}

Json json_of(const std::vector<AnsweredStudy>& studies) {
  Json list = Json::array();
  for (const AnsweredStudy& each : studies) list.push(study_json(each));
  return Json::object()
      .set("schema", "trainwright.studies/1")
      .set("answer", answer_of(studies))
      .set("questions", std::move(list));
}

std::string signs_of(const std::vector<AnsweredStudy>& studies) {
  std::string out;
  for (const AnsweredStudy& a : studies) {
    out += fmt::format("{} {}/{} mean {:.1f} worst {:.1f} {} {}\n", a.right ? "right" : "wrong",
                       a.pairs_right, a.pairs, kPerCent * a.mean_error, kPerCent * a.worst_error,
                       a.accurate ? (*a.accurate ? "accurate" : "inaccurate") : "-", a.study.name);
  }
  return out;
}

}  // namespace tw::validate
