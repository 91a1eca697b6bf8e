#include "kernels/cpu/linear.hpp"

#include "kernels/cpu/gemm.hpp"
#include "kernels/cpu/widened.hpp"

namespace tw::cpu {

template <class T>
void Linear<T>::forward(LinearSize size, const T* x, const T* w, T* y) {
  const Widened<T> a(size.rows, size.in, {x, size.in});
  const Widened<T> b(size.out, size.in, {w, size.in});
  Narrowed<T> c(size.rows * size.out, y);
  gemm_nt<Acc<T>>({.m = size.rows, .n = size.out, .k = size.in}, a.view(), b.view(), {c.data(), size.out});
  c.store();
}

template <class T>
void Linear<T>::dgrad(LinearSize size, const T* dy, const T* w, T* dx) {
  const Widened<T> a(size.rows, size.out, {dy, size.out});
  const Widened<T> b(size.out, size.in, {w, size.in});
  Narrowed<T> c(size.rows * size.in, dx);
  gemm_nn<Acc<T>>({.m = size.rows, .n = size.in, .k = size.out}, a.view(), b.view(), {c.data(), size.in});
  c.store();
}

template <class T>
void Linear<T>::wgrad(LinearSize size, const T* dy, const T* x, Acc<T>* dw) {
  const Widened<T> a(size.rows, size.out, {dy, size.out});
  const Widened<T> b(size.rows, size.in, {x, size.in});
  gemm_tn_add<Acc<T>>({.m = size.out, .n = size.in, .k = size.rows}, a.view(), b.view(), {dw, size.in});
}

template <class T>
void GroupedLinear<T>::forward(const GroupedSize& size, const T* x, const T* w, T* y) {
  for (const Segment& segment : size.segments) {
    Linear<T>::forward({segment.rows, size.in, size.out}, x + segment.first_row * size.in,
                       w + segment.group * size.out * size.in, y + segment.first_row * size.out);
  }
}

template <class T>
void GroupedLinear<T>::dgrad(const GroupedSize& size, const T* dy, const T* w, T* dx) {
  for (const Segment& segment : size.segments) {
    Linear<T>::dgrad({segment.rows, size.in, size.out}, dy + segment.first_row * size.out,
                     w + segment.group * size.out * size.in, dx + segment.first_row * size.in);
  }
}

template <class T>
void GroupedLinear<T>::wgrad(const GroupedSize& size, const T* dy, const T* x, Acc<T>* dw) {
  for (const Segment& segment : size.segments) {
    Linear<T>::wgrad({segment.rows, size.in, size.out}, dy + segment.first_row * size.out,
                     x + segment.first_row * size.in, dw + segment.group * size.out * size.in);
  }
}

template struct Linear<double>;
template struct Linear<float>;
template struct Linear<bf16>;
template struct GroupedLinear<double>;
template struct GroupedLinear<float>;
template struct GroupedLinear<bf16>;

}  // namespace tw::cpu
