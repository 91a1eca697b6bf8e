// Moving rows: slices, conversion, and copies by index, which permute tokens for experts and sort them
// back. Gather and scatter-add are each other's transpose.
#pragma once

#include <span>

#include "kernels/cpu/element.hpp"

namespace tw::cpu {

struct BlockSize {
  std::int64_t rows, width;
};

// A slice of rows, or of features where a stride is wider than `width`. Converts between bf16 and float.
template <class X, class Y>
void copy_rows(BlockSize size, Rows<const X> x, Rows<Y> y);

// y[i] = x[index[i]]
template <class T>
void gather_rows(std::int64_t width, std::span<const std::int64_t> index, const T* x, T* y);

// y[index[i]] += x[i]; Y is X, or float where X is bf16 (a sum of many rows wants it).
template <class X, class Y>
void scatter_add_rows(std::int64_t width, std::span<const std::int64_t> index, const X* x, Y* y);

}  // namespace tw::cpu
