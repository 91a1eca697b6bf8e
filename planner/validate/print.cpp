#include "planner/validate/print.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace tw::validate {
namespace {

std::string number(const Maybe<double>& value, int digits) {
  return value ? fmt::format("{:.{}f}", *value, digits) : "-";
}

std::string share(const Maybe<double>& value, int digits = 1) {
  return value ? number(value, digits) + "%" : "-";
}

struct Column {
  std::string_view title;
  std::string (*text)(const Score& score);
};
constexpr Column kColumns[] = {
    {"rows", [](const Score& s) { return fmt::format("{}/{}", s.used, s.n); }},
    {"MAPE%", [](const Score& s) { return number(s.time_mape, 1); }},
    {"left out%", [](const Score& s) { return number(s.left_out_mape, 1); }},
    {"neutral%", [](const Score& s) { return number(s.neutral_mape, 1); }},
    {"worst%", [](const Score& s) { return number(s.time_worst, 1); }},
    {"bias%", [](const Score& s) { return number(s.bias, 1); }},
    {"hindsight%", [](const Score& s) { return number(s.hindsight_mape, 1); }},
    {"tau", [](const Score& s) { return number(s.kendall_tau, 2); }},
    {"regret%", [](const Score& s) { return number(s.top1_regret, 1); }},
    {"memory%", [](const Score& s) { return number(s.memory_mape, 1); }},
    {"fits%", [](const Score& s) { return number(s.fit_accuracy, 1); }},
    {"cover%", [](const Score& s) { return number(s.coverage, 0); }},
    {"left out%", [](const Score& s) { return number(s.left_out_coverage, 0); }},
    {"half%", [](const Score& s) { return number(s.half_width, 1); }},
};

std::string header() {
  std::string out;
  for (const Column& column : kColumns) out += fmt::format("{:>11}", column.title);
  return out + "  study\n";
}

std::string line(const Score& score) {
  std::string out;
  for (const Column& column : kColumns) out += fmt::format("{:>11}", column.text(score));
  return out + "  " + (score.name.empty() ? score.source : score.name) + "\n";
}

std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out.empty() ? "none" : out;
}

std::string medians(const ValidateResult& result) {
  return fmt::format(
      "rank: medians over studies that rank five layouts or more: tau {}, regret {}%\n  {}\n  fewer: {}\n",
      number(result.median_tau, 2), number(result.median_regret, 1), listed(result.ranking),
      listed(result.too_few));
}

std::string goals(const ValidateResult& result) {
  std::string out = fmt::format(
      "time error at most half of hindsight's: {} of {} groups; not {}\n", result.beats_hindsight.size(),
      result.beats_hindsight.size() + result.behind_hindsight.size(), listed(result.behind_hindsight));
  if (result.systematic.empty()) return out;
  out += "largest errors of one sign, three rows or more:\n";
  for (const Systematic& each : result.systematic) {
    out += fmt::format("  {:+.1f}%  {} rows of {}, {}, {}; longest term {}, {:.0f}% of the step\n", each.mean,
                       each.rows, each.study, each.framework, each.group, each.term, each.share);
  }
  return out;
}

std::string row_line(const ValidatedRow& row) {
  std::string out = fmt::format("{:<52} ", row.id);
  if (!row.used) return out + "not used: " + row.why_not + "\n";
  out += fmt::format("time {:>6} memory {:>6}", number(row.time_ratio, 3), number(row.memory_ratio, 3));
  if (row.fits_predicted && row.fits_measured && *row.fits_predicted != *row.fits_measured) {
    out += fmt::format("  fits {}, measured {} ({:.1f} of {:.1f} GiB)", *row.fits_predicted,
                       *row.fits_measured, row.predicted->device_gib, row.predicted->limit_gib);
  }
  return out + "  " + row.predicted->layout + "\n";
}

template <class T>
Json optional_json(const Maybe<T>& value) {
  return value ? Json(*value) : Json();
}

Json pairs_json(const std::vector<std::pair<std::string, double>>& pairs) {
  Json out = Json::object();
  for (const auto& [name, value] : pairs) out.set(name, value);
  return out;
}

Json predicted_json(const PredictedRow& p) {
  Json out = Json::object();
  out.set("layout", p.layout)
      .set("framework", p.framework)
      .set("cluster", p.cluster)
      .set("calibration", p.calibration);
  out.set("step_time_s", p.step_time_s)
      .set("step_time_low_s", p.step_time_low_s)
      .set("step_time_high_s", p.step_time_high_s);
  out.set("tokens_per_s_per_gpu", p.tokens_per_s_per_gpu)
      .set("model_tflops_per_gpu", p.model_tflops_per_gpu)
      .set("mfu", p.mfu);
  Json memory = pairs_json(p.memory_parts);
  memory.set("allocated", p.allocated_gib)
      .set("reserved", p.reserved_gib)
      .set("device", p.device_gib)
      .set("limit", p.limit_gib);
  return std::move(out.set("memory_gib", std::move(memory)).set("terms_s", pairs_json(p.terms)));
}

Json measured_json(const MeasuredRow& m) {
  Json out = Json::object();
  if (!m.from.empty())
    out.set("step_time_s", m.step_time_s).set("from", m.from).set("utilisation", m.utilisation);
  if (m.memory_gib) out.set("memory_gib", *m.memory_gib).set("memory_unit", m.memory_unit);
  return out;
}

Json row_json(const ValidatedRow& row) {
  Json out = Json::object();
  out.set("id", row.id).set("source", row.source).set("used", row.used);
  out.set("why_not", row.used ? Json() : Json(row.why_not));
  Json filled = Json::array();
  for (const std::string& each : row.filled) filled.push(each);
  out.set("filled", std::move(filled)).set("group", row.group);
  out.set("predicted", row.predicted ? predicted_json(*row.predicted) : Json())
      .set("measured", measured_json(row.measured));
  out.set("study", row.study).set("left_out_ratio", optional_json(row.left_out_ratio));
  out.set("neutral_ratio", optional_json(row.neutral_ratio));
  out.set("time_ratio", optional_json(row.time_ratio)).set("memory_ratio", optional_json(row.memory_ratio));
  out.set("fits_predicted", optional_json(row.fits_predicted))
      .set("fits_measured", optional_json(row.fits_measured));
  return out;
}

Json score_json(const Score& s) {
  Json out = Json::object();
  out.set("source", s.source).set("name", s.name).set("n", s.n).set("used", s.used);
  out.set("time_mape", optional_json(s.time_mape)).set("time_worst", optional_json(s.time_worst));
  out.set("time_bias", optional_json(s.bias)).set("kendall_tau", optional_json(s.kendall_tau));
  out.set("top1_regret", optional_json(s.top1_regret)).set("ranked", s.ranked);
  out.set("memory_mape", optional_json(s.memory_mape)).set("fit_accuracy", optional_json(s.fit_accuracy));
  out.set("left_out_mape", optional_json(s.left_out_mape))
      .set("neutral_mape", optional_json(s.neutral_mape))
      .set("left_out_coverage", optional_json(s.left_out_coverage));
  out.set("coverage", optional_json(s.coverage)).set("band_half_width", optional_json(s.half_width));
  return std::move(out.set("hindsight_mape", optional_json(s.hindsight_mape)));
}

template <class T>
Json list_json(const std::vector<T>& values, Json (*one)(const T&)) {
  Json out = Json::array();
  for (const T& value : values) out.push(one(value));
  return out;
}

}  // namespace

std::string text_of(const ValidateResult& result, bool rows) {
  std::string out =
      "Predicted against published: percentages; left out: fitted constants without the row's study; "
      "neutral: none fitted;\nhindsight: one utilisation chosen for the set afterwards; cover: rows inside "
      "the 80% band, with all constants and left out\n";
  out += header();
  for (const Score& score : result.studies) out += line(score);
  out += "by GPU, model and precision\n";
  for (const Score& score : result.groups) out += line(score);
  out += line(result.overall) + medians(result) + goals(result);
  for (const ValidatedRow& row : result.rows) {
    if (rows || !row.used) out += row_line(row);
  }
  return out;
}

std::string answer_of(const ValidateResult& result) {
  const Score& s = result.overall;
  std::string out = fmt::format("{} of {} rows predicted", s.used, s.n);
  if (s.time_mape) out += fmt::format(": mean error of the step time {:.1f}%", *s.time_mape);
  if (s.left_out_mape)
    out += fmt::format(", {:.1f}% with constants fitted without the row's study", *s.left_out_mape);
  if (s.memory_mape) out += fmt::format("; of memory {:.1f}%", *s.memory_mape);
  if (s.coverage) out += fmt::format("; {:.0f}% inside their 80% bands", *s.coverage);
  return out;
}

Json json_of(const ValidateResult& result) {
  Json out = Json::object();
  out.set("schema", "trainwright.validate/1").set("rows_file", result.rows_file);
  out.set("answer", answer_of(result));
  out.set("rows", list_json(result.rows, row_json)).set("studies", list_json(result.studies, score_json));
  out.set("groups", list_json(result.groups, score_json));
  Json overall = score_json(result.overall);
  overall.set("median_tau", optional_json(result.median_tau))
      .set("median_regret", optional_json(result.median_regret));
  Json wrong = Json::array();
  for (const Systematic& each : result.systematic) {
    wrong.push(Json::object()
                   .set("study", each.study)
                   .set("framework", each.framework)
                   .set("group", each.group)
                   .set("rows", each.rows)
                   .set("mean_error", each.mean)
                   .set("term", each.term)
                   .set("term_share", each.share));
  }
  out.set("systematic", std::move(wrong));
  return std::move(out.set("overall", std::move(overall)));
}

std::string scoreboard_of(const ValidateResult& result) {
  std::string out;
  const auto add = [&](const Score& s) {
    out += fmt::format(
        "{:>5}/{:<4} time {:>6} left-out {:>6} worst {:>6} tau {:>5} memory {:>6} fits {:>6} cover {:>4}  "
        "{}\n",
        s.used, s.n, number(s.time_mape, 1), number(s.left_out_mape, 1), number(s.time_worst, 1),
        number(s.kendall_tau, 2), number(s.memory_mape, 1), number(s.fit_accuracy, 1), number(s.coverage, 0),
        s.name.empty() ? s.source : s.name);
  };
  for (const Score& score : result.studies) add(score);
  for (const Score& score : result.groups) add(score);
  add(result.overall);
  return out;
}

std::string markdown_of(const ValidateResult& result) {
  std::string out =
      "| study | rows | error | left out | neutral | hindsight | rank | regret | coverage | others claim |\n"
      "|---|---|---|---|---|---|---|---|---|---|\n";
  const auto errors = [](const Score& s) {
    return fmt::format("| {} | {}/{} | {} | {} | {} | {} |", s.name.empty() ? s.source : s.name, s.used, s.n,
                       share(s.time_mape), share(s.left_out_mape), share(s.neutral_mape),
                       share(s.hindsight_mape));
  };
  for (const Score& s : result.studies) {
    out += errors(s) + fmt::format(" {} | {} | {} | {} |\n", number(s.kendall_tau, 2), share(s.top1_regret),
                                   share(s.coverage, 0), s.claim);
  }
  out +=
      "\n| rows | used | error | left out | neutral | hindsight | coverage | left out | half-width |\n"
      "|---|---|---|---|---|---|---|---|---|\n";
  std::vector<Score> sets = result.groups;
  sets.push_back(result.overall);
  for (const Score& s : sets) {
    out += errors(s) + fmt::format(" {} | {} | {} |\n", share(s.coverage, 0), share(s.left_out_coverage, 0),
                                   share(s.half_width));
  }
  out += fmt::format(
      "\nRank, medians over the {} studies that rank five layouts or more: tau {}, regret {}. Time error at "
      "most half of hindsight's: {} of {} groups.\n",
      result.ranking.size(), number(result.median_tau, 2), share(result.median_regret),
      result.beats_hindsight.size(), result.beats_hindsight.size() + result.behind_hindsight.size());
  if (result.systematic.empty()) return out;
  out += "\n| largest errors of one sign | rows | mean | longest term |\n|---|---|---|---|\n";
  for (const Systematic& each : result.systematic) {
    out += fmt::format("| {}, {}, {} | {} | {:+.1f}% | {}, {:.0f}% of the step |\n", each.study,
                       each.framework, each.group, each.rows, each.mean, each.term, each.share);
  }
  return out;
}

}  // namespace tw::validate
