#include "kernels/backend/gpu/expert_products.hpp"

#include <cublasLt.h>

#include <map>
#include <tuple>

#include "kernels/backend/gpu/blas.hpp"
#include "kernels/backend/gpu/check.hpp"

namespace tw::gpu {
namespace {

constexpr std::int64_t kRound = 128;

const char* moved(const void* at, std::int64_t elements, std::int64_t width) {
  return static_cast<const char*>(at) + elements * width;
}

// Matrices of one product, on the stack: nothing is allocated for a call.
struct Shape {
  cublasLtMatrixLayoutOpaque_t a, b, c;
  cublasLtMatmulDescOpaque_t operation;
  bool left_is_a;

  explicit Shape(const GemmCall& call) {
    const ColumnMajor s = column_major(call);
    const auto size = [](std::int64_t n) { return static_cast<std::uint64_t>(n); };
    const bool ta = s.transpose_a, tb = s.transpose_b;
    CUBLAS_CHECK(cublasLtMatrixLayoutInit(&a, CUDA_R_16BF, size(ta ? s.depth : s.rows),
                                          size(ta ? s.rows : s.depth), s.lda));
    CUBLAS_CHECK(cublasLtMatrixLayoutInit(&b, CUDA_R_16BF, size(tb ? s.cols : s.depth),
                                          size(tb ? s.depth : s.cols), s.ldb));
    CUBLAS_CHECK(cublasLtMatrixLayoutInit(&c, call.into == Into::bf16 ? CUDA_R_16BF : CUDA_R_32F,
                                          size(s.rows), size(s.cols), s.ldc));
    CUBLAS_CHECK(cublasLtMatmulDescInit(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    set(CUBLASLT_MATMUL_DESC_TRANSA, ta ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, tb ? CUBLAS_OP_T : CUBLAS_OP_N);
    left_is_a = s.left_is_a;
  }
  void set(cublasLtMatmulDescAttributes_t attribute, cublasOperation_t value) {
    CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(&operation, attribute, &value, sizeof value));
  }
};

cublasLtMatmulAlgo_t proposed(Blas::State& blas, Shape& shape) {
  cublasLtMatmulPreferenceOpaque_t preference;
  CUBLAS_CHECK(cublasLtMatmulPreferenceInit(&preference));
  const auto most = static_cast<std::uint64_t>(blas.workspace.bytes());
  CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(&preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                    &most, sizeof most));
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  CUBLAS_CHECK(cublasLtMatmulAlgoGetHeuristic(blas.lt, &shape.operation, &shape.a, &shape.b, &shape.c,
                                              &shape.c, &preference, 1, &found, &count));
  if (count == 0) throw DeviceRefusal("cuBLASLt has no algorithm for a product of experts");
  return found.algo;
}

}  // namespace

struct ExpertProducts::Plans {
  using Key = std::tuple<int, std::int64_t, std::int64_t, std::int64_t>;
  Blas::State* blas;
  std::map<Key, cublasLtMatmulAlgo_t> algorithms;  // by rows, rounded up or, where that fails, as they are

  const cublasLtMatmulAlgo_t& of(const GemmCall& call) {
    const Key key{static_cast<int>(call.product), call.m, call.n, call.k};
    const auto found = algorithms.find(key);
    if (found != algorithms.end()) return found->second;
    Shape shape(call);
    return algorithms.emplace(key, proposed(*blas, shape)).first->second;
  }

  bool takes(Shape& shape, const cublasLtMatmulAlgo_t& algorithm, const GemmCall& call,
             const GemmPointers& at) const {
    const float alpha = 1, beta = call.into == Into::bf16 ? 0 : 1;
    const cublasStatus_t status = cublasLtMatmul(
        blas->lt, &shape.operation, &alpha, shape.left_is_a ? at.left : at.right, &shape.a,
        shape.left_is_a ? at.right : at.left, &shape.b, &beta, at.out, &shape.c, at.out, &shape.c, &algorithm,
        blas->workspace.data(), static_cast<std::size_t>(blas->workspace.bytes()), blas->stream);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) return false;
    CUBLAS_CHECK(status);
    return true;
  }

  void run(const GemmCall& call, const GemmPointers& at) {
    Shape shape(call);
    GemmCall rounded = call;
    rounded.m = (call.m + kRound - 1) / kRound * kRound;
    if (takes(shape, of(rounded), call, at)) return;
    if (!takes(shape, of(call), call, at)) throw DeviceRefusal("cuBLASLt takes no product of experts");
  }
};

ExpertProducts::ExpertProducts(const Blas& blas)
    : plans_(std::make_unique<Plans>(Plans{&blas.state(), {}})) {}
ExpertProducts::~ExpertProducts() = default;

void ExpertProducts::run(Product product, const ExpertRows& experts, const GemmPointers& at) {
  const std::int64_t n = experts.n, k = experts.k;
  const bool forward = product == Product::forward, wgrad = product == Product::wgrad;
  std::int64_t before = 0;
  for (std::size_t e = 0; e < experts.rows.size(); ++e) {
    const std::int64_t rows = experts.rows[e], weight = static_cast<std::int64_t>(e) * n * k;
    if (rows == 0) continue;
    const char* left = moved(at.left, before * (forward ? k : n), 2);
    const char* right = moved(at.right, wgrad ? before * k : weight, 2);
    const char* out = wgrad ? moved(at.out, weight, 4) : moved(at.out, before * (forward ? n : k), 2);
    plans_->run({product, rows, n, k, wgrad ? Into::fp32_sum : Into::bf16, Operands::bf16},
                {left, right, const_cast<char*>(out)});
    before += rows;
  }
}

}  // namespace tw::gpu
