// Dense products on row-major blocks inside wider buffers: the one place that multiplies matrices.
#pragma once

#include "kernels/cpu/element.hpp"

namespace tw::cpu {

struct GemmSize {
  std::int64_t m, n, k;
};

// c[m, n] = a[m, k] b[n, k]^T
template <class A>
void gemm_nt(GemmSize size, Rows<const A> a, Rows<const A> b, Rows<A> c);

// c[m, n] = a[m, k] b[k, n]
template <class A>
void gemm_nn(GemmSize size, Rows<const A> a, Rows<const A> b, Rows<A> c);

// c[m, n] += a[m, k] b[k, n]
template <class A>
void gemm_nn_add(GemmSize size, Rows<const A> a, Rows<const A> b, Rows<A> c);

// c[m, n] += a[k, m]^T b[k, n]
template <class A>
void gemm_tn_add(GemmSize size, Rows<const A> a, Rows<const A> b, Rows<A> c);

}  // namespace tw::cpu
