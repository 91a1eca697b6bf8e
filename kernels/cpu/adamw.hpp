// AdamW (Loshchilov and Hutter 2019, algorithm 2, with bias correction; decay is decoupled and scaled by
// the learning rate, as PyTorch has it) on a flat range of master weights.
#pragma once

#include "kernels/cpu/element.hpp"

namespace tw::cpu {

struct AdamWSettings {
  double learning_rate, beta1, beta2, epsilon, weight_decay;
};

template <class T>
struct AdamWState {
  Acc<T>* master;
  Acc<T>* first_moment;
  Acc<T>* second_moment;
  T* weight;  // the master rounded to T; may be the master itself where the types agree
};

template <class T>
struct AdamW {
  struct Range {
    std::int64_t count;
    std::int64_t step;  // 1 for the first
  };
  static void update(const AdamWSettings& settings, Range range, const Acc<T>* gradient,
                     const AdamWState<T>& state);
};

}  // namespace tw::cpu
