// GPU-hours of a run by term of its steps: our best layout beside the published one.
#include <array>

#include "reports/size_result.hpp"

namespace tw {
namespace {

using Sums = std::array<double, kTerms>;

void add_hours(Sums& sum, const Prediction& p, double steps, std::int32_t gpus) {
  for (std::size_t i = 0; i < kTerms; ++i)
    sum[i] += gpus * in_hours(Seconds(double{p.cost.terms.exposed[i]} * steps));
}

}  // namespace

std::vector<TermHours> hours_by_term(const SizeRow& row, const PublishedBeside& p) {
  Sums best{}, theirs{};
  double tokens = 0;
  for (const SizePhase& phase : row.phases) {
    for (const SizePart& part : phase.parts) {
      tokens += static_cast<double>(part.tokens);
      add_hours(best, part.best, part.steps, row.gpus);
    }
  }
  const double per_step = p.layout->unique_tokens_per_s * p.layout->cost.step_seconds;
  add_hours(theirs, *p.layout, tokens / per_step, row.gpus);
  std::vector<TermHours> out;
  for (std::size_t i = 0; i < kTerms; ++i) {
    if (best[i] != 0 || theirs[i] != 0) out.push_back({static_cast<Term>(i), best[i], theirs[i]});
  }
  return out;
}

}  // namespace tw
