#include "kernels/cpu/rms_norm.hpp"

#include <cmath>

namespace tw::cpu {
namespace {

template <class T>
Acc<T> inverse_rms(const NormShape& shape, const T* x) {
  Acc<T> squares = 0;
  for (std::int64_t i = 0; i < shape.width; ++i) {
    const auto value = static_cast<Acc<T>>(x[i]);
    squares += value * value;
  }
  return 1 / std::sqrt(squares / static_cast<Acc<T>>(shape.width) + static_cast<Acc<T>>(shape.epsilon));
}

// With h = x r and g = dy w: dx = r (g - h mean(g h)), dw += dy h (derived: dr/dx = -r^3 x / width).
template <class T>
void backward_vector(const NormShape& shape, const T* x, const T* weight, const T* dy,
                     NormGradients<T> gradients) {
  using A = Acc<T>;
  const A r = inverse_rms(shape, x);
  A product = 0;
  for (std::int64_t i = 0; i < shape.width; ++i) {
    const A h = static_cast<A>(x[i]) * r;
    product += static_cast<A>(dy[i]) * static_cast<A>(weight[i]) * h;
    gradients.weight[i] += static_cast<A>(dy[i]) * h;
  }
  product /= static_cast<A>(shape.width);
  for (std::int64_t i = 0; i < shape.width; ++i) {
    const A g = static_cast<A>(dy[i]) * static_cast<A>(weight[i]);
    gradients.x.data[i] = static_cast<T>(r * (g - static_cast<A>(x[i]) * r * product));
  }
}

}  // namespace

template <class T>
void RmsNorm<T>::forward(const NormShape& shape, Rows<const T> x, const T* weight, Rows<T> y) {
  using A = Acc<T>;
  for (std::int64_t row = 0; row < shape.rows; ++row) {
    for (std::int64_t offset = 0; offset < shape.vectors * shape.width; offset += shape.width) {
      const T* from = x[row] + offset;
      T* to = y[row] + offset;
      const A r = inverse_rms(shape, from);
      for (std::int64_t i = 0; i < shape.width; ++i) {
        to[i] = static_cast<T>(static_cast<A>(from[i]) * r * static_cast<A>(weight[i]));
      }
    }
  }
}

template <class T>
void RmsNorm<T>::backward(const NormShape& shape, Rows<const T> x, const T* weight, Rows<const T> dy,
                          const NormGradients<T>& gradients) {
  for (std::int64_t row = 0; row < shape.rows; ++row) {
    for (std::int64_t offset = 0; offset < shape.vectors * shape.width; offset += shape.width) {
      backward_vector<T>(shape, x[row] + offset, weight, dy[row] + offset,
                         {{gradients.x[row] + offset, 0}, gradients.weight});
    }
  }
}

template struct RmsNorm<double>;
template struct RmsNorm<float>;
template struct RmsNorm<bf16>;

}  // namespace tw::cpu
