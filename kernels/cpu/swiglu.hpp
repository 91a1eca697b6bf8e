// SwiGLU (Shazeer 2020): act = silu(gate) * up from packed rows [gate | up], times a factor per row where
// one is given (a route's probability: applied here, the sum over a token's experts is a plain one).
#pragma once

#include "kernels/cpu/element.hpp"

namespace tw::cpu {

struct SwigluShape {
  std::int64_t rows, width;  // width of act; a packed row holds twice as much
};

template <class T>
struct SwigluGradients {
  T* gate_up;      // written
  Acc<T>* factor;  // [rows], written; unused where no factor is given
};

template <class T>
struct Swiglu {
  // factor: [rows], or null.
  static void forward(SwigluShape shape, const T* gate_up, const Acc<T>* factor, T* act);
  static void backward(SwigluShape shape, const T* gate_up, const Acc<T>* factor, const T* dact,
                       const SwigluGradients<T>& gradients);
};

}  // namespace tw::cpu
