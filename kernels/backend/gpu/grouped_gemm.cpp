#include <cublas_v2.h>

#include <map>

#include "kernels/backend/gpu/blas.hpp"
#include "kernels/backend/gpu/check.hpp"

namespace tw::gpu {
namespace {

int narrow(std::int64_t value) {
  return static_cast<int>(value);
}

GemmCall call_of(const GroupedCall& call, std::int64_t rows) {
  return {call.product, rows, call.n, call.k, Into::bf16, Operands::bf16};
}

const std::byte* moved(const void* at, std::int64_t elements) {
  return static_cast<const std::byte*>(at) + 2 * elements;  // bf16
}

}  // namespace

// Host arrays of one entry per expert that has rows; arrays of pointers live on the device.
struct GroupedGemm::Plan {
  Blas::State* state;
  const Blas* blas;
  GroupedCall call;
  std::vector<GemmPointers> at;
  std::vector<cublasOperation_t> transpose_a, transpose_b;
  std::vector<int> rows, cols, depth, lda, ldb, ldc, size;
  std::vector<float> alpha, beta;
  Buffer pointers;
  std::vector<const void*> a, b;
  std::vector<void*> c;
  bool left_is_a = false;
  std::map<std::int64_t, Gemm> plans;  // of the loop, by rows
};

GroupedGemm::GroupedGemm(const Blas& blas, const GroupedCall& call) : plan_(std::make_unique<Plan>()) {
  Plan& p = *plan_;
  p.state = &blas.state(), p.blas = &blas, p.call = call;
  for (const std::int64_t rows : call.rows) {
    if (rows == 0) continue;
    const ColumnMajor shape = column_major(call_of(call, rows));
    p.transpose_a.push_back(shape.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    p.transpose_b.push_back(shape.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    p.rows.push_back(narrow(shape.rows)), p.cols.push_back(narrow(shape.cols)),
        p.depth.push_back(narrow(shape.depth));
    p.lda.push_back(narrow(shape.lda)), p.ldb.push_back(narrow(shape.ldb)),
        p.ldc.push_back(narrow(shape.ldc));
    p.size.push_back(1), p.alpha.push_back(1), p.beta.push_back(0);
    p.left_is_a = shape.left_is_a;
    if (call.form == GroupedForm::loop && !p.plans.contains(rows))
      p.plans.emplace(rows, Gemm(blas, call_of(call, rows)));
  }
  p.pointers = Buffer(static_cast<std::int64_t>(3 * sizeof(void*) * p.rows.size()));
}

GroupedGemm::~GroupedGemm() = default;

void GroupedGemm::set(const GemmPointers& whole) {
  Plan& p = *plan_;
  p.at.clear(), p.a.clear(), p.b.clear(), p.c.clear();
  std::int64_t before = 0;
  for (std::size_t e = 0; e < p.call.rows.size(); ++e) {
    const std::int64_t rows = p.call.rows[e], n = p.call.n, k = p.call.k;
    const std::int64_t weight = static_cast<std::int64_t>(e) * n * k;
    const std::int64_t left = before * (p.call.product == Product::forward ? k : n);
    const std::int64_t right = p.call.product == Product::wgrad ? before * k : weight;
    const std::int64_t out = p.call.product == Product::wgrad     ? weight
                             : p.call.product == Product::forward ? before * n
                                                                  : before * k;
    before += rows;
    if (rows == 0) continue;
    p.at.push_back(
        {moved(whole.left, left), moved(whole.right, right), const_cast<std::byte*>(moved(whole.out, out))});
    p.a.push_back(p.left_is_a ? p.at.back().left : p.at.back().right);
    p.b.push_back(p.left_is_a ? p.at.back().right : p.at.back().left);
    p.c.push_back(p.at.back().out);
  }
  const auto bytes = static_cast<std::int64_t>(sizeof(void*) * p.a.size());
  auto* to = static_cast<std::byte*>(p.pointers.data());
  to_device(p.a.data(), to, bytes, p.state->stream);
  to_device(p.b.data(), to + bytes, bytes, p.state->stream);
  to_device(p.c.data(), to + 2 * bytes, bytes, p.state->stream);
}

void GroupedGemm::run() const {
  const Plan& p = *plan_;
  if (p.call.form == GroupedForm::loop) {
    std::size_t i = 0;
    for (const std::int64_t rows : p.call.rows) {
      if (rows > 0) p.plans.at(rows).run(p.at[i++]);
    }
    return;
  }
  auto** pointers = static_cast<void**>(p.pointers.data());
  const std::size_t groups = p.rows.size();
  CUBLAS_CHECK(cublasGemmGroupedBatchedEx(
      p.state->grouped, p.transpose_a.data(), p.transpose_b.data(), p.rows.data(), p.cols.data(),
      p.depth.data(), p.alpha.data(), pointers, CUDA_R_16BF, p.lda.data(), pointers + groups, CUDA_R_16BF,
      p.ldb.data(), p.beta.data(), pointers + 2 * groups, CUDA_R_16BF, p.ldc.data(),
      narrow(static_cast<std::int64_t>(groups)), p.size.data(), CUBLAS_COMPUTE_32F));
}

}  // namespace tw::gpu
