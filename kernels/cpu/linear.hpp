// Linear layers with weights [out, in], plain and grouped: in a grouped one (experts) each segment of
// rows has the weight of its group, in [group, out, in].
#pragma once

#include <span>

#include "kernels/cpu/element.hpp"

namespace tw::cpu {

struct LinearSize {
  std::int64_t rows, in, out;
};

template <class T>
struct Linear {
  // y[rows, out] = x[rows, in] w^T
  static void forward(LinearSize size, const T* x, const T* w, T* y);
  // dx[rows, in] = dy[rows, out] w
  static void dgrad(LinearSize size, const T* dy, const T* w, T* dx);
  // dw[out, in] += dy^T x
  static void wgrad(LinearSize size, const T* dy, const T* x, Acc<T>* dw);
};

struct Segment {
  std::int64_t group, first_row, rows;
};

// Segments in any order, several of one group or none; they do not overlap. Rows of no segment are
// neither read nor written.
struct GroupedSize {
  std::int64_t in, out;
  std::span<const Segment> segments;
};

template <class T>
struct GroupedLinear {
  static void forward(const GroupedSize& size, const T* x, const T* w, T* y);
  static void dgrad(const GroupedSize& size, const T* dy, const T* w, T* dx);
  static void wgrad(const GroupedSize& size, const T* dy, const T* x, Acc<T>* dw);
};

}  // namespace tw::cpu
