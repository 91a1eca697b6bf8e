// Initial values that depend on (seed, weight, element of the whole weight) alone, so every rank of every
// layout starts from the same parameters. Philox4x32-10 (Salmon et al. 2011): counter = element and
// weight, key = seed.
#pragma once

#include <array>

#include "kernels/cpu/element.hpp"

namespace tw::cpu {

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

struct WeightKey {
  std::uint64_t seed, weight;
};

// Worked out in double; uniform lies in [-sqrt(3), sqrt(3)), so both have mean 0 and deviation 1.
double uniform_value(WeightKey key, std::uint64_t element);
double normal_value(WeightKey key, std::uint64_t element);

// A block of a weight: its element (i, j) is element first + i * stride + j of the whole weight.
struct WeightBlock {
  std::int64_t first, rows, width, stride;
};

// Written side by side, [rows, width]: `deviation` times the value, rounded to Acc<T> and then to T, so
// that the rounded copy of a master weight and a weight made here are the same.
template <class T>
struct Initial {
  static void uniform(WeightKey key, const WeightBlock& block, double deviation, T* w);
  static void normal(WeightKey key, const WeightBlock& block, double deviation, T* w);
};

}  // namespace tw::cpu
