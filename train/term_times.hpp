// Where the time of steps went on this rank, in the terms that a prediction uses.
#pragma once

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "train/recorder.hpp"
#include "train/view.hpp"

namespace tw::train {

using TermSeconds = std::vector<std::pair<std::string, double>>;

Term term_of(const Step& step, const View& view);

class TermTimes {
 public:
  explicit TermTimes(const View& view) : view_(view) {}

  void add(const std::vector<Recorder::Mark>& marks);  // of a step
  // Of the median step of each term, on the rank that computes longest: the others wait for it. All ranks
  // together.
  TermSeconds of_the_busiest(Messages& messages) const;

 private:
  const View& view_;
  std::vector<std::array<double, kTerms>> steps_;
};

}  // namespace tw::train
