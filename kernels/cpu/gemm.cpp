#include "kernels/cpu/gemm.hpp"

#include <Eigen/Core>

namespace tw::cpu {
namespace {

template <class A>
using Matrix = Eigen::Matrix<A, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

template <class A>
Eigen::Map<const Matrix<A>, 0, Eigen::OuterStride<>> input(Rows<const A> rows, std::int64_t m,
                                                           std::int64_t n) {
  return {rows.data, m, n, Eigen::OuterStride<>(rows.stride)};
}

template <class A>
Eigen::Map<Matrix<A>, 0, Eigen::OuterStride<>> output(Rows<A> rows, std::int64_t m, std::int64_t n) {
  return {rows.data, m, n, Eigen::OuterStride<>(rows.stride)};
}

}  // namespace

template <class A>
void gemm_nt(GemmSize size, Rows<const A> a, Rows<const A> b, Rows<A> c) {
  output(c, size.m, size.n).noalias() = input(a, size.m, size.k) * input(b, size.n, size.k).transpose();
}

template <class A>
void gemm_nn(GemmSize size, Rows<const A> a, Rows<const A> b, Rows<A> c) {
  output(c, size.m, size.n).noalias() = input(a, size.m, size.k) * input(b, size.k, size.n);
}

template <class A>
void gemm_nn_add(GemmSize size, Rows<const A> a, Rows<const A> b, Rows<A> c) {
  output(c, size.m, size.n).noalias() += input(a, size.m, size.k) * input(b, size.k, size.n);
}

template <class A>
void gemm_tn_add(GemmSize size, Rows<const A> a, Rows<const A> b, Rows<A> c) {
  output(c, size.m, size.n).noalias() += input(a, size.k, size.m).transpose() * input(b, size.k, size.n);
}

template void gemm_nt(GemmSize, Rows<const double>, Rows<const double>, Rows<double>);
template void gemm_nt(GemmSize, Rows<const float>, Rows<const float>, Rows<float>);
template void gemm_nn(GemmSize, Rows<const double>, Rows<const double>, Rows<double>);
template void gemm_nn(GemmSize, Rows<const float>, Rows<const float>, Rows<float>);
template void gemm_nn_add(GemmSize, Rows<const double>, Rows<const double>, Rows<double>);
template void gemm_nn_add(GemmSize, Rows<const float>, Rows<const float>, Rows<float>);
template void gemm_tn_add(GemmSize, Rows<const double>, Rows<const double>, Rows<double>);
template void gemm_tn_add(GemmSize, Rows<const float>, Rows<const float>, Rows<float>);

}  // namespace tw::cpu
