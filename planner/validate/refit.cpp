#include "planner/validate/refit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "planner/validate/predict_row.hpp"
#include "planner/validate/words.hpp"

namespace tw::validate {
namespace {

constexpr int kScan = 9, kSweeps = 4, kSweepsLeftOut = 2;
constexpr double kGolden = 0.6180339887498949, kNarrow = 0.004;  // of the range
constexpr double kRefused = 1;

double rounded(double value) {
  return amount_of(text_of(Amount{value, {}})).number;
}

struct Case {
  const Row* row;
  std::string study, text;  // text: what RowsUsed looks for words in
  std::string group;
};

std::vector<Case> cases_of(const std::vector<Row>& rows, Scenarios& scenarios) {
  const std::vector<Study> studies = load_studies();
  std::vector<Case> out;
  for (const Row& row : rows) {
    const ValidatedRow one = predict_row(row, scenarios, {});
    if (!one.used || !one.time_ratio) continue;
    const Study* study = study_of(studies, row.source);
    out.push_back({&row, study ? study->study : row.source,
                   lower(row.id + " " + one.group + " " + one.predicted->framework), one.group});
  }
  return out;
}

bool uses(const RowsUsed& rule, const Case& one) {
  return rule.study == one.study && (!rule.only || one.text.find(lower(*rule.only)) != std::string::npos) &&
         (!rule.without || one.text.find(lower(*rule.without)) == std::string::npos);
}

// Rows of one constant, by study.
using Sets = std::map<std::string, std::vector<const Case*>>;

Sets sets_of(const FittedConstant& constant, const std::vector<Case>& cases) {
  Sets out;
  for (const Case& one : cases) {
    const bool used = std::any_of(constant.rows.begin(), constant.rows.end(),
                                  [&](const RowsUsed& rule) { return uses(rule, one); });
    if (used) out[one.study].push_back(&one);
  }
  return out;
}

double mean_error(const Sets& sets, const std::string& without, Scenarios& scenarios) {
  double sum = 0, studies = 0;
  for (const auto& [study, cases] : sets) {
    if (study == without) continue;
    double errors = 0;
    for (const Case* one : cases) {
      const Maybe<double> ratio = predict_row(*one->row, scenarios, {}).time_ratio;
      errors += ratio ? std::abs(*ratio - 1) : kRefused;
    }
    sum += errors / static_cast<double>(cases.size()), studies += 1;
  }
  return studies > 0 ? sum / studies : 0;
}

class Fit {
 public:
  Fit(const std::vector<FittedConstant>& constants, const std::vector<Case>& cases) : constants_(constants) {
    for (const FittedConstant& constant : constants) {
      values_.push_back(constant.value);
      sets_.push_back(sets_of(constant, cases));
    }
  }

  // One constant after another, `sweeps` times or until none moves. A constant that is left without a
  // study stays neutral.
  void run(const std::string& without, int sweeps) {
    Scenarios scenarios;
    for (std::size_t i = 0; i < constants_.size(); ++i) set(scenarios, constants_[i].places, values_[i]);
    bool moved = true;
    for (int sweep = 0; sweep < sweeps && moved; ++sweep) {
      moved = false;
      for (std::size_t i = 0; i < constants_.size(); ++i) {
        if (!without.empty() && !sets_[i].contains(without)) continue;
        const std::string best = fit(i, without, scenarios);
        moved = moved || best != values_[i];
        values_[i] = best;
        set(scenarios, constants_[i].places, best);
      }
    }
  }

  const Sets& sets(std::size_t i) const { return sets_[i]; }
  const std::string& value(std::size_t i) const { return values_[i]; }

 private:
  std::string fit(std::size_t i, const std::string& without, Scenarios scenarios) const {
    const FittedConstant& constant = constants_[i];
    if (sets_[i].size() == sets_[i].count(without)) return constant.neutral;
    const Amount low = amount_of(constant.low), high = amount_of(constant.high);
    const auto error = [&](double value) {
      set(scenarios, constant.places, text_of(Amount{value, low.unit}));
      return mean_error(sets_[i], without, scenarios);
    };
    return text_of(Amount{least_at(low.number, high.number, error), low.unit});
  }

  const std::vector<FittedConstant>& constants_;
  std::vector<std::string> values_;
  std::vector<Sets> sets_;
};

// Bands: measured over predicted, less 1, of every row by the constants fitted without its study.
struct OffRow {
  const Case* one;
  double off;
};

std::vector<OffRow> offs_of(const std::vector<Case>& cases, const FittedList& list) {
  std::map<std::string, Scenarios> without;
  std::vector<OffRow> out;
  for (const Case& one : cases) {
    if (!without.contains(one.study)) {
      FittedList whole = list;
      Scenarios scenarios = left_out(whole, one.study);
      for (const FittedConstant& constant : list.constants) {
        if (!constant.left_out.contains(one.study)) set(scenarios, constant.places, constant.value);
      }
      without.emplace(one.study, std::move(scenarios));
    }
    const Maybe<double> ratio = predict_row(*one.row, without.at(one.study), {}).time_ratio;
    if (ratio) out.push_back({&one, 1 / *ratio - 1});
  }
  return out;
}

// Groups of five rows or more, each weighing the same, however many rows it has and however far off they are.
double mean_score(const std::vector<OffRow>& offs, Scenarios& scenarios) {
  constexpr std::size_t kEnough = 5;
  struct Group {
    double score = 0;
    std::size_t rows = 0;
  };
  std::map<std::string, Group> groups;
  for (const OffRow& each : offs) {
    const PredictedRow p = *predict_row(*each.one->row, scenarios, {}).predicted;
    const double half = (p.step_time_high_s - p.step_time_low_s) / (2 * p.step_time_s);
    Group& group = groups[each.one->group];
    group.score += interval_score(half, each.off), group.rows += 1;
  }
  double sum = 0, counted = 0;
  for (const auto& [name, group] : groups) {
    if (group.rows >= kEnough) sum += group.score / static_cast<double>(group.rows), counted += 1;
  }
  return counted > 0 ? sum / counted : 0;
}

void fit_bands(FittedList& list, const std::vector<Case>& cases,
               const std::function<void(const std::string&)>& progress) {
  const std::vector<OffRow> offs = offs_of(cases, list);
  Scenarios scenarios;
  for (const FittedConstant& constant : list.constants) set(scenarios, constant.places, constant.value);
  for (const FittedConstant& band : list.bands) set(scenarios, band.places, band.value);
  bool moved = true;
  for (int sweep = 0; sweep < kSweeps && moved; ++sweep) {
    moved = false;
    for (FittedConstant& band : list.bands) {
      const Amount low = amount_of(band.low), high = amount_of(band.high);
      const double best = least_at(low.number, high.number, [&](double value) {
        set(scenarios, band.places, text_of(Amount{value, low.unit}));
        return mean_score(offs, scenarios);
      });
      const std::string text = text_of(Amount{best, low.unit});
      moved = moved || text != band.value;
      band.value = text;
      set(scenarios, band.places, text);
      progress(band.name + " " + text);
    }
  }
}

}  // namespace

double least_at(double low, double high, const std::function<double(double)>& of) {
  std::map<double, double> known;
  const auto at = [&](double value) {
    const double key = rounded(value);
    const auto found = known.find(key);
    return found != known.end() ? found->second : known.emplace(key, of(key)).first->second;
  };
  const double step = (high - low) / (kScan - 1);
  int least = 0;
  for (int i = 1; i < kScan; ++i) {
    if (at(low + i * step) < at(low + least * step)) least = i;
  }
  double left = low + std::max(0, least - 1) * step, right = low + std::min(kScan - 1, least + 1) * step;
  while (right - left > kNarrow * (high - low)) {
    const double a = right - kGolden * (right - left), b = left + kGolden * (right - left);
    (at(a) <= at(b) ? right : left) = at(a) <= at(b) ? b : a;
  }
  const auto best = std::min_element(known.begin(), known.end(),
                                     [](const auto& x, const auto& y) { return x.second < y.second; });
  return best->first;
}

double interval_score(double half, double off) {
  constexpr double kOutside = 2 / 0.2;
  return 2 * half + kOutside * std::max(0.0, std::abs(off) - half);
}

FittedList refit(const std::vector<Row>& rows, FittedList list,
                 const std::function<void(const std::string&)>& progress) {
  Scenarios scenarios;
  const std::vector<Case> cases = cases_of(rows, scenarios);
  Fit all(list.constants, cases);
  all.run("", kSweeps);
  std::set<std::string> studies;
  for (std::size_t i = 0; i < list.constants.size(); ++i) {
    list.constants[i].value = all.value(i), list.constants[i].left_out.clear();
    for (const auto& [study, used] : all.sets(i)) studies.insert(study);
    progress(list.constants[i].name + " " + all.value(i));
  }
  for (const std::string& study : studies) {
    Fit fit = all;
    fit.run(study, kSweepsLeftOut);
    for (std::size_t i = 0; i < list.constants.size(); ++i) {
      if (all.sets(i).contains(study)) list.constants[i].left_out[study] = fit.value(i);
    }
    progress("without " + study);
  }
  fit_bands(list, cases, progress);
  return list;
}

std::string text_of(const FittedList& now, const FittedList& fitted) {
  std::string out = fmt::format("{:>10}{:>10}{:>10}  {:<20}{:<40}constant\n", "in files", "fitted", "neutral",
                                "range", "without");
  const auto add = [&](const FittedConstant& was, const FittedConstant& is) {
    std::string without;
    for (const auto& [study, value] : is.left_out)
      without += (without.empty() ? "" : ", ") + study + " " + value;
    out += fmt::format("{:>10}{:>10}{:>10}  {:<20}{:<40}{}\n", was.value, is.value, is.neutral,
                       is.low + " to " + is.high, without, is.name);
  };
  for (std::size_t i = 0; i < now.constants.size(); ++i) add(now.constants[i], fitted.constants[i]);
  for (std::size_t i = 0; i < now.bands.size(); ++i) add(now.bands[i], fitted.bands[i]);
  return out;
}

}  // namespace tw::validate
