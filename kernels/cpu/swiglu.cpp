#include "kernels/cpu/swiglu.hpp"

#include <cmath>

namespace tw::cpu {
namespace {

template <class A>
A sigmoid(A x) {
  return 1 / (1 + std::exp(-x));
}

// Gradients of one row; returns that of its factor. d silu(g) / dg = s (1 + g (1 - s)), s = sigmoid(g).
template <class T>
Acc<T> backward_row(std::int64_t width, const T* gate_up, Acc<T> factor, const T* dact, T* dgate_up) {
  using A = Acc<T>;
  A dfactor = 0;
  for (std::int64_t i = 0; i < width; ++i) {
    const auto gate = static_cast<A>(gate_up[i]);
    const auto up = static_cast<A>(gate_up[width + i]);
    const auto upstream = static_cast<A>(dact[i]);
    const A s = sigmoid(gate);
    dfactor += upstream * gate * s * up;
    dgate_up[i] = static_cast<T>(upstream * factor * up * s * (1 + gate * (1 - s)));
    dgate_up[width + i] = static_cast<T>(upstream * factor * gate * s);
  }
  return dfactor;
}

}  // namespace

template <class T>
void Swiglu<T>::forward(SwigluShape shape, const T* gate_up, const Acc<T>* factor, T* act) {
  using A = Acc<T>;
  for (std::int64_t row = 0; row < shape.rows; ++row) {
    const T* gates = gate_up + 2 * row * shape.width;
    const A scale = factor ? factor[row] : 1;
    for (std::int64_t i = 0; i < shape.width; ++i) {
      const auto gate = static_cast<A>(gates[i]);
      const auto up = static_cast<A>(gates[shape.width + i]);
      act[row * shape.width + i] = static_cast<T>(gate * sigmoid(gate) * up * scale);
    }
  }
}

template <class T>
void Swiglu<T>::backward(SwigluShape shape, const T* gate_up, const Acc<T>* factor, const T* dact,
                         const SwigluGradients<T>& gradients) {
  for (std::int64_t row = 0; row < shape.rows; ++row) {
    const std::int64_t packed = 2 * row * shape.width;
    const Acc<T> dfactor = backward_row(shape.width, gate_up + packed, factor ? factor[row] : Acc<T>{1},
                                        dact + row * shape.width, gradients.gate_up + packed);
    if (factor) gradients.factor[row] = dfactor;
  }
}

template struct Swiglu<double>;
template struct Swiglu<float>;
template struct Swiglu<bf16>;

}  // namespace tw::cpu
