#include "kernels/backend/gpu/expert_products.hpp"

#include <cublas_v2.h>

#include "kernels/backend/gpu/blas.hpp"
#include "kernels/backend/gpu/check.hpp"

namespace tw::gpu {
namespace {

int narrow(std::int64_t value) {
  return static_cast<int>(value);
}

const char* moved(const void* at, std::int64_t elements, std::int64_t width) {
  return static_cast<const char*>(at) + elements * width;
}

void product_of(const Blas& blas, const GemmCall& call, const GemmPointers& at) {
  const ColumnMajor s = column_major(call);
  const bool sums = call.into == Into::fp32_sum;
  const float alpha = 1, beta = sums ? 1 : 0;
  CUBLAS_CHECK(cublasGemmEx(blas.state().grouped, s.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N,
                            s.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N, narrow(s.rows), narrow(s.cols),
                            narrow(s.depth), &alpha, s.left_is_a ? at.left : at.right, CUDA_R_16BF,
                            narrow(s.lda), s.left_is_a ? at.right : at.left, CUDA_R_16BF, narrow(s.ldb),
                            &beta, at.out, sums ? CUDA_R_32F : CUDA_R_16BF, narrow(s.ldc), CUBLAS_COMPUTE_32F,
                            CUBLAS_GEMM_DEFAULT));
}

}  // namespace

void expert_products(const Blas& blas, Product product, const ExpertRows& experts, const GemmPointers& at) {
  const std::int64_t n = experts.n, k = experts.k;
  const bool forward = product == Product::forward, wgrad = product == Product::wgrad;
  std::int64_t before = 0;
  for (std::size_t e = 0; e < experts.rows.size(); ++e) {
    const std::int64_t rows = experts.rows[e], weight = static_cast<std::int64_t>(e) * n * k;
    if (rows == 0) continue;
    const GemmCall call{product, rows, n, k, wgrad ? Into::fp32_sum : Into::bf16, Operands::bf16};
    const char* left = moved(at.left, before * (forward ? k : n), 2);
    const char* right = moved(at.right, wgrad ? before * k : weight, 2);
    const char* out = wgrad ? moved(at.out, weight, 4) : moved(at.out, before * (forward ? n : k), 2);
    product_of(blas, call, {left, right, const_cast<char*>(out)});
    before += rows;
  }
}

}  // namespace tw::gpu
