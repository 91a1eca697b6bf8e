#include "train/term_times.hpp"

#include <algorithm>

#include "costmodel/program/view.hpp"

namespace tw::train {

Term term_of(const Step& step, const View& view) {
  switch (step.action) {
    case Action::op:
      return op_of(step, view.units()).term;
    case Action::send:
    case Action::receive:
      return Term::send;
    case Action::gather:
    case Action::release:
      return Term::gather;
    case Action::reduce:
    case Action::sum_shared:
    case Action::sum_copies:
      return Term::reduce;
    default:
      return Term::optimizer;
  }
}

void TermTimes::add(const std::vector<Recorder::Mark>& marks) {
  std::array<double, kTerms> seconds{};
  double before = 0;
  for (const Recorder::Mark& mark : marks) {
    seconds[static_cast<std::size_t>(term_of(*mark.step, view_))] += mark.seconds - before;
    before = mark.seconds;
  }
  steps_.push_back(seconds);
}

TermSeconds TermTimes::of_the_busiest(Messages& messages) const {
  std::array<double, kTerms + 1> own{};  // the last: without what it waits in
  for (std::size_t t = 0; t < kTerms && !steps_.empty(); ++t) {
    std::vector<double> all;
    for (const auto& step : steps_) all.push_back(step[t]);
    std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2), all.end());
    own[t] = all[all.size() / 2];
    if (!is_exchange(static_cast<Term>(t))) own[kTerms] += own[t];
  }
  std::vector<std::array<double, kTerms + 1>> all(view_.world().size());
  messages.all_gather(view_.world(), &own, sizeof own, all.data());
  const auto busiest = std::max_element(all.begin(), all.end(),
                                        [](const auto& a, const auto& b) { return a[kTerms] < b[kTerms]; });
  TermSeconds out;
  for (std::size_t t = 0; t < kTerms; ++t) {
    if ((*busiest)[t] > 0) out.emplace_back(name_of(static_cast<Term>(t)), (*busiest)[t]);
  }
  return out;
}

}  // namespace tw::train
