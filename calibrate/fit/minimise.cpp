#include "calibrate/fit/minimise.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace tw {
namespace {

constexpr int kIterations = 400;
constexpr double kFlat = 1e-9, kStep = 0.15;

using Vertices = std::vector<Minimum>;

std::vector<double> mix(const std::vector<double>& a, const std::vector<double>& b, double share) {
  std::vector<double> out(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) out[i] = std::clamp(a[i] + share * (b[i] - a[i]), 0.0, 1.0);
  return out;
}

class Simplex {
 public:
  Simplex(const std::vector<Parameter>& parameters, const Objective& objective)
      : parameters_(parameters), objective_(objective) {}

  Minimum run(const std::vector<double>& from) {
    vertices_ = {evaluate(from)};
    for (std::size_t i = 0; i < from.size(); ++i) {
      std::vector<double> moved = from;
      moved[i] += moved[i] + kStep <= 1 ? kStep : -kStep;
      vertices_.push_back(evaluate(moved));
    }
    for (int i = 0; i < kIterations && !flat(); ++i) step();
    sort();
    return vertices_.front();
  }

 private:
  Minimum evaluate(const std::vector<double>& at) {
    set_targets(parameters_, at);
    return {at, objective_()};
  }
  void sort() {
    std::stable_sort(vertices_.begin(), vertices_.end(),
                     [](const Minimum& a, const Minimum& b) { return a.value < b.value; });
  }
  bool flat() {
    sort();
    return vertices_.back().value - vertices_.front().value < kFlat;
  }
  std::vector<double> centre() const {
    std::vector<double> sum(vertices_[0].at.size(), 0);
    for (std::size_t v = 0; v + 1 < vertices_.size(); ++v) {
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += vertices_[v].at[i];
    }
    for (double& each : sum) each /= static_cast<double>(vertices_.size() - 1);
    return sum;
  }
  // Reflect, expand, contract, shrink with the factors of the paper: 1, 2, 1/2, 1/2.
  void step() {
    const std::vector<double> middle = centre();
    Minimum& worst = vertices_.back();
    const double second = vertices_[vertices_.size() - 2].value;
    Minimum moved = evaluate(mix(middle, worst.at, -1));
    if (moved.value < vertices_.front().value) {
      const Minimum further = evaluate(mix(middle, worst.at, -2));
      worst = further.value < moved.value ? further : moved;
      return;
    }
    if (moved.value < second) {
      worst = moved;
      return;
    }
    const Minimum inside = evaluate(mix(middle, moved.value < worst.value ? moved.at : worst.at, 0.5));
    if (inside.value < std::min(moved.value, worst.value)) {
      worst = inside;
      return;
    }
    for (std::size_t v = 1; v < vertices_.size(); ++v) {
      vertices_[v] = evaluate(mix(vertices_[0].at, vertices_[v].at, 0.5));
    }
  }

  const std::vector<Parameter>& parameters_;
  const Objective& objective_;
  Vertices vertices_;
};

// Fixed, well spread starts: multiples of irrational steps modulo 1, kept off the bounds.
std::vector<double> start(std::size_t dimensions, int index) {
  std::vector<double> at(dimensions);
  for (std::size_t i = 0; i < dimensions; ++i) {
    const double turn = std::sqrt(static_cast<double>(2 + 3 * i)) * static_cast<double>(index);
    at[i] = 0.1 + 0.8 * std::fmod(0.5 + turn, 1.0);
  }
  return at;
}

}  // namespace

void set_targets(const std::vector<Parameter>& parameters, const std::vector<double>& at) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& p = parameters[i];
    *p.target = p.low * std::pow(p.high / p.low, at[i]);
  }
}

Minimum descend(const std::vector<Parameter>& parameters, const Objective& objective,
                std::vector<double> from) {
  const Minimum found = Simplex(parameters, objective).run(from);
  set_targets(parameters, found.at);
  return found;
}

Minimum minimise(const std::vector<Parameter>& parameters, const Objective& objective, int starts) {
  Minimum best;
  for (int i = 0; i < starts; ++i) {
    Minimum found = descend(parameters, objective, start(parameters.size(), i));
    found = descend(parameters, objective, found.at);  // a collapsed simplex opens again
    if (i == 0 || found.value < best.value) best = found;
  }
  set_targets(parameters, best.at);
  return best;
}

double rounded(double value) {
  if (value == 0) return 0;
  constexpr double kMicro = 1e-6;  // times are written in microseconds: round there
  if (std::abs(value) < 1e-3) return rounded(value / kMicro) * kMicro;
  const double scale = std::pow(10.0, 2 - std::floor(std::log10(std::abs(value))));
  return scale >= 1 ? std::round(value * scale) / scale : std::round(value / (1 / scale)) * (1 / scale);
}

}  // namespace tw
