#include "planner/validate/validate_rows.hpp"

#include <map>

#include "planner/validate/score.hpp"
#include "planner/validate/words.hpp"

namespace tw::validate {
namespace {

// Constants as fitted without a study; made once per study.
class LeftOut {
 public:
  explicit LeftOut(const FittedList& list) : list_(list) {}

  void add_to(ValidatedRow& out, const Row& row, const Settings& settings) {
    out.left_out_ratio = out.time_ratio;
    out.left_out_covered = out.predicted && inside_band(*out.predicted, out.measured.step_time_s);
    if (!out.predicted || !depends_on(list_, out.study)) return;
    const auto known = scenarios_.find(out.study);
    Scenarios& scenarios = known != scenarios_.end()
                               ? known->second
                               : scenarios_.emplace(out.study, left_out(list_, out.study)).first->second;
    const ValidatedRow without = predict_row(row, scenarios, settings);
    out.left_out_ratio = without.time_ratio;
    out.left_out_covered = inside_band(*without.predicted, without.measured.step_time_s);
  }

 private:
  const FittedList& list_;
  std::map<std::string, Scenarios> scenarios_;
};

}  // namespace

ValidateResult validate_rows(const std::vector<Row>& rows, const Settings& settings,
                             const std::string& study) {
  const FittedList fitted = load_fitted();
  const std::vector<Study> studies = load_studies();
  Scenarios as_they_stand, at_neutral = neutral(fitted);
  LeftOut left_out(fitted);
  ValidateResult out;
  for (const Row& row : rows) {
    const Study* part = study_of(studies, row.source);
    const bool asked =
        study.empty() || mentions(row.source, lower(study)) || (part && mentions(part->name, lower(study)));
    if (!asked) continue;
    ValidatedRow one = predict_row(row, as_they_stand, settings);
    one.study = part ? part->study : row.source;
    one.neutral_ratio = predict_row(row, at_neutral, settings).time_ratio;
    left_out.add_to(one, row, settings);
    out.rows.push_back(std::move(one));
  }
  score_all(out, studies);
  return out;
}

}  // namespace tw::validate
