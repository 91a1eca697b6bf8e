// Rotary positions (Su et al. 2021, equation 34) with the halves convention of Llama's checkpoints in
// Hugging Face form: features i and i + head_dim/2 of a head turn by position * theta^(-2i/head_dim).
#pragma once

#include "kernels/cpu/element.hpp"

namespace tw::cpu {

// `heads` at the start of each row turn: queries and keys of packed rows [q heads | k heads | v heads].
struct RopeShape {
  std::int64_t rows, heads, head_dim;
  double theta;
};

// In place. The backward is the inverse rotation, and needs no saved input.
template <class T>
struct Rope {
  static void forward(const RopeShape& shape, const std::int32_t* positions, Rows<T> x);
  static void backward(const RopeShape& shape, const std::int32_t* positions, Rows<T> dx);
};

}  // namespace tw::cpu
