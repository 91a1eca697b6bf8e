// Look-up of a vocabulary range [first, first + count) of the embedding table, [count, width]. A token
// outside the range gives zeros, so that the ranges' results add up to the whole look-up.
#pragma once

#include "kernels/cpu/element.hpp"

namespace tw::cpu {

struct EmbeddingShape {
  std::int64_t rows, width, first, count;
};

template <class T>
struct Embedding {
  static void forward(const EmbeddingShape& shape, const std::int32_t* tokens, const T* table, T* y);
  // dtable[token - first] += dy
  static void backward(const EmbeddingShape& shape, const std::int32_t* tokens, const T* dy, Acc<T>* dtable);
};

}  // namespace tw::cpu
