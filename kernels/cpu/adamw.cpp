#include "kernels/cpu/adamw.hpp"

#include <cmath>

#include "topology/check.hpp"

namespace tw::cpu {
namespace {

// Everything that the elements share, worked out in double.
template <class A>
struct Factors {
  A beta1, fresh1, beta2, fresh2, keep, rate, root, epsilon;
};

template <class A>
Factors<A> factors_of(const AdamWSettings& settings, std::int64_t step) {
  TW_CHECK(step >= 1);
  const auto power = static_cast<double>(step);
  return {.beta1 = static_cast<A>(settings.beta1),
          .fresh1 = static_cast<A>(1 - settings.beta1),
          .beta2 = static_cast<A>(settings.beta2),
          .fresh2 = static_cast<A>(1 - settings.beta2),
          .keep = static_cast<A>(1 - settings.learning_rate * settings.weight_decay),
          .rate = static_cast<A>(settings.learning_rate / (1 - std::pow(settings.beta1, power))),
          .root = static_cast<A>(1 / std::sqrt(1 - std::pow(settings.beta2, power))),
          .epsilon = static_cast<A>(settings.epsilon)};
}

}  // namespace

template <class T>
void AdamW<T>::update(const AdamWSettings& settings, Range range, const Acc<T>* gradient,
                      const AdamWState<T>& state) {
  using A = Acc<T>;
  const Factors<A> f = factors_of<A>(settings, range.step);
  for (std::int64_t i = 0; i < range.count; ++i) {
    A& m = state.first_moment[i];
    A& v = state.second_moment[i];
    m = f.beta1 * m + f.fresh1 * gradient[i];
    v = f.beta2 * v + f.fresh2 * gradient[i] * gradient[i];
    state.master[i] = f.keep * state.master[i] - f.rate * m / (std::sqrt(v) * f.root + f.epsilon);
    state.weight[i] = static_cast<T>(state.master[i]);
  }
}

template struct AdamW<double>;
template struct AdamW<float>;
template struct AdamW<bf16>;

}  // namespace tw::cpu
