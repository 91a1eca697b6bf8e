#include "planner/validate/score.hpp"

#include <algorithm>
#include <functional>
#include <map>

#include "planner/validate/metrics.hpp"
#include "planner/validate/systematic.hpp"

namespace tw::validate {
namespace {

constexpr double kPerCent = 100, kRefused = 1;  // a refused row is wrong by all of its time

Maybe<double> per_cent(Maybe<double> share) {
  return share ? Maybe<double>(kPerCent * *share) : share;
}

using Rows = std::vector<const ValidatedRow*>;

void score_time(Score& out, const Rows& rows) {
  std::vector<double> ratios, left_out, neutral, biases, utilisations;
  double covered = 0, left_out_covered = 0, counted = 0;
  std::vector<double> widths;
  for (const ValidatedRow* row : rows) {
    if (!row->in_time) continue;
    ratios.push_back(row->time_ratio.value_or(1 + kRefused));
    left_out.push_back(row->left_out_ratio.value_or(1 + kRefused));
    neutral.push_back(row->neutral_ratio.value_or(1 + kRefused));
    if (!row->time_ratio) continue;
    biases.push_back(*row->time_ratio);
    utilisations.push_back(row->measured.utilisation);
    const PredictedRow& p = *row->predicted;
    counted += 1;
    covered += inside_band(*row->predicted, row->measured.step_time_s),
        left_out_covered += row->left_out_covered;
    widths.push_back((p.step_time_high_s - p.step_time_low_s) / (2 * p.step_time_s));
  }
  out.time_mape = per_cent(mean_error(ratios)), out.time_worst = per_cent(worst_error(ratios));
  if (const auto middle = median(biases)) out.bias = kPerCent * (*middle - 1);
  out.left_out_mape = per_cent(mean_error(left_out)), out.neutral_mape = per_cent(mean_error(neutral));
  if (counted > 0) {
    out.coverage = kPerCent * covered / counted;
    out.left_out_coverage = kPerCent * left_out_covered / counted;
  }
  out.half_width = per_cent(median(widths));
  out.hindsight_mape = per_cent(hindsight_error(utilisations));
}

void score_rank(Score& out, const Rows& rows) {
  std::map<std::string, std::pair<std::vector<double>, std::vector<double>>> questions;
  for (const ValidatedRow* row : rows) {
    if (!row->time_ratio) continue;
    auto& [predicted, measured] = questions[row->source + "|" + row->question];
    predicted.push_back(row->predicted->step_time_s);
    measured.push_back(row->measured.step_time_s);
  }
  PairCounts pairs;
  double regret = 0, asked = 0;
  for (const auto& [name, times] : questions) {
    pairs += count_pairs(times.first, times.second);
    const auto one = top1_regret(times.first, times.second);
    if (!one) continue;
    regret += *one, asked += 1;
    out.ranked += static_cast<std::int32_t>(times.first.size());
  }
  out.kendall_tau = kendall_tau(pairs);
  if (asked > 0) out.top1_regret = kPerCent * regret / asked;
}

void score_memory(Score& out, const Rows& rows) {
  std::vector<double> ratios;
  double right = 0, said = 0;
  for (const ValidatedRow* row : rows) {
    if (row->memory_ratio) ratios.push_back(*row->memory_ratio);
    if (!row->fits_measured) continue;
    said += 1;
    right += row->fits_predicted && *row->fits_predicted == *row->fits_measured;
  }
  out.memory_mape = per_cent(mean_error(ratios));
  if (said > 0) out.fit_accuracy = kPerCent * right / said;
}

using KeyOf = const std::string& (*)(const ValidatedRow&);

std::vector<Score> scores_by(const std::vector<ValidatedRow>& rows, KeyOf key) {
  std::vector<std::string> order;
  std::map<std::string, Rows> sets;
  for (const ValidatedRow& row : rows) {
    if (key(row).empty()) continue;
    if (!sets.contains(key(row))) order.push_back(key(row));
    sets[key(row)].push_back(&row);
  }
  std::vector<Score> out;
  for (const std::string& name : order) out.push_back(score(name, sets[name]));
  return out;
}

void score_ranks(ValidateResult& result) {
  constexpr std::int32_t kEnough = 5;
  std::vector<double> taus, regrets;
  for (const Score& study : result.studies) {
    if (study.ranked == 0) continue;
    const bool enough = study.ranked >= kEnough && study.kendall_tau && study.top1_regret;
    (enough ? result.ranking : result.too_few).push_back(study.name);
    if (enough) taus.push_back(*study.kendall_tau), regrets.push_back(*study.top1_regret);
  }
  result.median_tau = median(taus), result.median_regret = median(regrets);
}

// What a single constant, chosen afterwards for these very rows, may still be worth: half.
void score_hindsight(ValidateResult& result) {
  constexpr double kShare = 0.5;
  for (const Score& group : result.groups) {
    if (!group.time_mape || group.hindsight_mape.value_or(0) <= 0) continue;
    const bool beats = *group.time_mape <= kShare * *group.hindsight_mape;
    (beats ? result.beats_hindsight : result.behind_hindsight).push_back(group.source);
  }
}

}  // namespace

bool inside_band(const PredictedRow& predicted, double seconds) {
  return predicted.step_time_low_s <= seconds && seconds <= predicted.step_time_high_s;
}

Score score(std::string name, const Rows& rows) {
  Score out;
  out.source = std::move(name);
  out.n = static_cast<std::int32_t>(rows.size());
  out.used = static_cast<std::int32_t>(
      std::count_if(rows.begin(), rows.end(), [](const auto* row) { return row->used; }));
  score_time(out, rows);
  score_rank(out, rows);
  score_memory(out, rows);
  return out;
}

void score_all(ValidateResult& result, const std::vector<Study>& studies) {
  result.studies =
      scores_by(result.rows, [](const ValidatedRow& row) -> const std::string& { return row.source; });
  for (Score& score : result.studies) {
    const Study* study = study_of(studies, score.source);
    score.name = study ? study->name : score.source;
    if (study) score.claim = study->claim;
  }
  score_ranks(result);
  result.groups =
      scores_by(result.rows, [](const ValidatedRow& row) -> const std::string& { return row.group; });
  std::sort(result.groups.begin(), result.groups.end(),
            [](const Score& a, const Score& b) { return a.source < b.source; });
  score_hindsight(result);
  result.systematic = systematic_errors(result.rows);
  Rows all;
  for (const ValidatedRow& row : result.rows) all.push_back(&row);
  result.overall = score("all rows", all);
}

}  // namespace tw::validate
