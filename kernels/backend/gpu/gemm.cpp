#include "kernels/backend/gpu/gemm.hpp"

#include <cublasLt.h>
#include <cublas_v2.h>

#include "kernels/backend/gpu/blas.hpp"
#include "kernels/backend/gpu/check.hpp"
#include "topology/check.hpp"

namespace tw::gpu {
namespace {

// What PyTorch gives cuBLAS on Hopper, and NVIDIA recommends for it.
constexpr std::int64_t kWorkspace = 32 << 20;

struct Layout {
  cublasLtMatrixLayout_t desc = nullptr;
  Layout(cudaDataType type, std::int64_t rows, std::int64_t cols, std::int64_t ld) {
    CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&desc, type, static_cast<std::uint64_t>(rows),
                                            static_cast<std::uint64_t>(cols), ld));
  }
  ~Layout() { cublasLtMatrixLayoutDestroy(desc); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
};

}  // namespace

// A row-major [r, c] is a column-major c x r with leading dimension c; y^T = w x^T and so on.
ColumnMajor column_major(const GemmCall& call) {
  const std::int64_t m = call.m, n = call.n, k = call.k;
  const bool cast = call.operands == Operands::e4m3;  // both operands already lie depth first
  switch (call.product) {
    case Product::forward:
      return {true, false, n, m, k, k, k, n, false};
    case Product::dgrad:
      if (cast) return {true, false, k, m, n, n, n, k, false};
      return {false, false, k, m, n, k, n, k, false};
    case Product::wgrad:
      if (cast) return {true, false, k, n, m, m, m, k, false};
      return {false, true, k, n, m, k, n, k, false};
  }
  TW_CHECK(false);
  return {};
}

Blas::Blas(Stream stream) : state_(std::make_unique<State>()) {
  state_->stream = stream;
  state_->workspace = Buffer(kWorkspace), state_->one = Buffer(sizeof(float));
  const float one = 1;
  to_device(&one, state_->one.data(), sizeof one, stream);
  CUBLAS_CHECK(cublasLtCreate(&state_->lt));
  CUBLAS_CHECK(cublasCreate(&state_->grouped));
  CUBLAS_CHECK(cublasSetStream(state_->grouped, stream));
  CUBLAS_CHECK(
      cublasSetWorkspace(state_->grouped, state_->workspace.data(), static_cast<std::size_t>(kWorkspace)));
}

Blas::~Blas() {
  cublasDestroy(state_->grouped);
  cublasLtDestroy(state_->lt);
}

struct Gemm::Plan {
  Plan(Blas::State& blas, const ColumnMajor& shape, cudaDataType in, cudaDataType out)
      : state(&blas),
        a(in, shape.transpose_a ? shape.depth : shape.rows, shape.transpose_a ? shape.rows : shape.depth,
          shape.lda),
        b(in, shape.transpose_b ? shape.cols : shape.depth, shape.transpose_b ? shape.depth : shape.cols,
          shape.ldb),
        c(out, shape.rows, shape.cols, shape.ldc),
        left_is_a(shape.left_is_a) {
    CUBLAS_CHECK(cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  }
  ~Plan() { cublasLtMatmulDescDestroy(operation); }
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof value));
  }

  Blas::State* state;
  Layout a, b, c;
  bool left_is_a;
  float beta = 0;
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
};

Gemm::Gemm(const Blas& blas, const GemmCall& call) {
  const ColumnMajor shape = column_major(call);
  const bool cast = call.operands == Operands::e4m3;
  plan_ = std::make_unique<Plan>(blas.state(), shape, cast ? CUDA_R_8F_E4M3 : CUDA_R_16BF,
                                 call.into == Into::bf16 ? CUDA_R_16BF : CUDA_R_32F);
  plan_->beta = call.into == Into::fp32_sum ? 1 : 0;
  plan_->set(CUBLASLT_MATMUL_DESC_TRANSA, shape.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  plan_->set(CUBLASLT_MATMUL_DESC_TRANSB, shape.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (cast) {
    const void* one = blas.state().one.data();
    plan_->set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, one);
    plan_->set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, one);
    // Sums within a tensor core's own precision in the forward alone, as recipes have it.
    plan_->set(CUBLASLT_MATMUL_DESC_FAST_ACCUM,
               static_cast<std::int8_t>(call.product == Product::forward ? 1 : 0));
  }
  cublasLtMatmulPreference_t preference = nullptr;
  CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference));
  const auto most = static_cast<std::uint64_t>(kWorkspace);
  CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                    &most, sizeof most));
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  const auto status =
      cublasLtMatmulAlgoGetHeuristic(blas.state().lt, plan_->operation, plan_->a.desc, plan_->b.desc,
                                     plan_->c.desc, plan_->c.desc, preference, 1, &found, &count);
  cublasLtMatmulPreferenceDestroy(preference);
  CUBLAS_CHECK(status);
  TW_CHECK(count == 1);
  plan_->algorithm = found.algo;
}

Gemm::~Gemm() = default;
Gemm::Gemm(Gemm&&) noexcept = default;

void Gemm::run(const GemmPointers& at) const {
  const float alpha = 1;
  const Plan& p = *plan_;
  CUBLAS_CHECK(cublasLtMatmul(p.state->lt, p.operation, &alpha, p.left_is_a ? at.left : at.right, p.a.desc,
                              p.left_is_a ? at.right : at.left, p.b.desc, &p.beta, at.out, p.c.desc, at.out,
                              p.c.desc, &p.algorithm, p.state->workspace.data(),
                              static_cast<std::size_t>(kWorkspace), p.state->stream));
}

}  // namespace tw::gpu
