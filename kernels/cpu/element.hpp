// Element types: a value is stored as T (double, float, bf16), worked on and accumulated as Acc<T>.
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/bf16.hpp"

namespace tw::cpu {

template <class T>
using Acc = std::conditional_t<std::is_same_v<T, double>, double, float>;

// Rows inside a wider buffer: row i begins at data + i * stride.
template <class T>
struct Rows {
  T* data;
  std::int64_t stride;

  T* operator[](std::int64_t row) const { return data + row * stride; }
};

}  // namespace tw::cpu
