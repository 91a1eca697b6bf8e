// Operators on flat ranges: sums of values, and what the optimizer and clipping by global norm need.
#pragma once

#include "kernels/cpu/element.hpp"

namespace tw::cpu {

template <class T>
struct Vectors {
  // y = a + b; y may be either.
  static void add(std::int64_t count, const T* a, const T* b, T* y);
  static void scale(std::int64_t count, double factor, T* x);
  static void fill(std::int64_t count, double value, T* x);
  // Summed in double for every T.
  static double sum_of_squares(std::int64_t count, const T* x);
};

// y += x; Y is X, or float where X is bf16.
template <class X, class Y>
void accumulate(std::int64_t count, const X* x, Y* y);

}  // namespace tw::cpu
