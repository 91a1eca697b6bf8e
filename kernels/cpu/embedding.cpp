#include "kernels/cpu/embedding.hpp"

#include <algorithm>

#include "kernels/cpu/vectors.hpp"

namespace tw::cpu {
namespace {

bool holds(const EmbeddingShape& shape, std::int64_t token) {
  return token >= shape.first && token < shape.first + shape.count;
}

}  // namespace

template <class T>
void Embedding<T>::forward(const EmbeddingShape& shape, const std::int32_t* tokens, const T* table, T* y) {
  for (std::int64_t row = 0; row < shape.rows; ++row, y += shape.width) {
    if (holds(shape, tokens[row])) {
      std::copy_n(table + (tokens[row] - shape.first) * shape.width, shape.width, y);
    } else {
      std::fill_n(y, shape.width, T{});
    }
  }
}

template <class T>
void Embedding<T>::backward(const EmbeddingShape& shape, const std::int32_t* tokens, const T* dy,
                            Acc<T>* dtable) {
  for (std::int64_t row = 0; row < shape.rows; ++row, dy += shape.width) {
    if (holds(shape, tokens[row])) {
      accumulate(shape.width, dy, dtable + (tokens[row] - shape.first) * shape.width);
    }
  }
}

template struct Embedding<double>;
template struct Embedding<float>;
template struct Embedding<bf16>;

}  // namespace tw::cpu
