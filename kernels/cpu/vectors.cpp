#include "kernels/cpu/vectors.hpp"

#include <algorithm>

namespace tw::cpu {

template <class T>
void Vectors<T>::add(std::int64_t count, const T* a, const T* b, T* y) {
  using A = Acc<T>;
  for (std::int64_t i = 0; i < count; ++i) y[i] = static_cast<T>(static_cast<A>(a[i]) + static_cast<A>(b[i]));
}

template <class T>
void Vectors<T>::scale(std::int64_t count, double factor, T* x) {
  using A = Acc<T>;
  for (std::int64_t i = 0; i < count; ++i)
    x[i] = static_cast<T>(static_cast<A>(x[i]) * static_cast<A>(factor));
}

template <class T>
void Vectors<T>::fill(std::int64_t count, double value, T* x) {
  std::fill_n(x, count, static_cast<T>(static_cast<Acc<T>>(value)));
}

template <class T>
double Vectors<T>::sum_of_squares(std::int64_t count, const T* x) {
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const double value = static_cast<Acc<T>>(x[i]);
    sum += value * value;
  }
  return sum;
}

template <class X, class Y>
void accumulate(std::int64_t count, const X* x, Y* y) {
  using A = Acc<Y>;
  for (std::int64_t i = 0; i < count; ++i) y[i] = static_cast<Y>(static_cast<A>(y[i]) + static_cast<A>(x[i]));
}

template struct Vectors<double>;
template struct Vectors<float>;
template struct Vectors<bf16>;
template void accumulate(std::int64_t, const double*, double*);
template void accumulate(std::int64_t, const float*, float*);
template void accumulate(std::int64_t, const bf16*, bf16*);
template void accumulate(std::int64_t, const bf16*, float*);

}  // namespace tw::cpu
