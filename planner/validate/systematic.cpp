#include "planner/validate/systematic.hpp"

#include <algorithm>
#include <cmath>
#include <map>

namespace tw::validate {
namespace {

constexpr double kPerCent = 100;
constexpr std::int32_t kEnough = 3;
constexpr std::size_t kShown = 3;

struct Set {
  Systematic error;
  std::map<std::string, double> shares;  // summed over rows
};

Systematic finished(Set set) {
  Systematic out = std::move(set.error);
  out.mean *= kPerCent / out.rows;
  for (const auto& [term, sum] : set.shares) {
    const double share = kPerCent * sum / out.rows;
    if (share > out.share) out.term = term, out.share = share;
  }
  return out;
}

}  // namespace

std::vector<Systematic> systematic_errors(const std::vector<ValidatedRow>& rows) {
  std::map<std::string, Set> sets;
  for (const ValidatedRow& row : rows) {
    if (!row.time_ratio || !row.predicted) continue;
    const PredictedRow& p = *row.predicted;
    Set& set = sets[row.study + "|" + p.framework + "|" + row.group];
    set.error.study = row.study, set.error.framework = p.framework, set.error.group = row.group;
    set.error.rows += 1, set.error.mean += *row.time_ratio - 1;
    for (const auto& [term, seconds] : p.terms) set.shares[term] += seconds / p.step_time_s;
  }
  std::vector<Systematic> out;
  for (auto& [key, set] : sets) {
    if (set.error.rows >= kEnough) out.push_back(finished(std::move(set)));
  }
  std::sort(out.begin(), out.end(),
            [](const Systematic& a, const Systematic& b) { return std::abs(a.mean) > std::abs(b.mean); });
  out.resize(std::min(out.size(), kShown));
  return out;
}

}  // namespace tw::validate
