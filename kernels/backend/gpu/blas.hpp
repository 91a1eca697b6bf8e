// What Gemm and GroupedGemm share; for files of this folder that see cuBLAS.
#pragma once

#include "kernels/backend/gpu/device.hpp"
#include "kernels/backend/gpu/gemm.hpp"

struct cublasLtContext;
struct cublasContext;

namespace tw::gpu {

struct Blas::State {
  Stream stream = nullptr;
  cublasLtContext* lt = nullptr;
  cublasContext* grouped = nullptr;
  Buffer workspace, one;  // one: the scale of e4m3 operands
};

// The row-major product in cuBLAS's column-major terms.
struct ColumnMajor {
  bool transpose_a, transpose_b;
  std::int64_t rows, cols, depth;  // of the result, column-major
  std::int64_t lda, ldb, ldc;
  bool left_is_a;  // GemmPointers::left is A
};
ColumnMajor column_major(const GemmCall& call);

}  // namespace tw::gpu
