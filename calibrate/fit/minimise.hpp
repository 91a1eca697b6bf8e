// A small deterministic minimiser: Nelder and Mead (1965) in the logarithms of bounded parameters,
// from fixed starting points.
#pragma once

#include <functional>
#include <vector>

namespace tw {

struct Parameter {
  double* target;    // what the curve reads
  double low, high;  // bounds, above zero; searched in logarithms
};

struct Minimum {
  std::vector<double> at;  // in [0, 1] per parameter, between the logarithms of its bounds
  double value = 0;
};

using Objective = std::function<double()>;  // of the parameters' targets

void set_targets(const std::vector<Parameter>& parameters, const std::vector<double>& at);
// Restarts from `starts` fixed points; leaves the best values in the targets.
Minimum minimise(const std::vector<Parameter>& parameters, const Objective& objective, int starts);
// One descent from `from`.
Minimum descend(const std::vector<Parameter>& parameters, const Objective& objective,
                std::vector<double> from);
// Three significant digits: what the fit can know, and short in a file.
double rounded(double value);

}  // namespace tw
