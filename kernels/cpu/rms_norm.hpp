// RMSNorm (Zhang and Sennrich 2019, equation 4): y = x / sqrt(mean(x^2) + epsilon) * weight over each
// vector of `width` features. A row holds `vectors` of them, side by side: one for a layer's norm, one
// per head for the norm of queries or keys inside packed rows, all with the same weight.
#pragma once

#include "kernels/cpu/element.hpp"

namespace tw::cpu {

struct NormShape {
  std::int64_t rows, vectors, width;
  double epsilon;
};

template <class T>
struct NormGradients {
  Rows<T> x;       // written; may be the rows of dy
  Acc<T>* weight;  // [width], accumulated
};

template <class T>
struct RmsNorm {
  // In place where y is x.
  static void forward(const NormShape& shape, Rows<const T> x, const T* weight, Rows<T> y);
  // The statistic is worked out again from x.
  static void backward(const NormShape& shape, Rows<const T> x, const T* weight, Rows<const T> dy,
                       const NormGradients<T>& gradients);
};

}  // namespace tw::cpu
