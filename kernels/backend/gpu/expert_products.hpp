// The products of routed layers, an expert after the other, with rows that differ from call to call: the
// algorithm is chosen by cuBLAS in each call, and nothing is allocated.
#pragma once

#include <span>

#include "kernels/backend/gpu/gemm.hpp"

namespace tw::gpu {

struct ExpertRows {
  std::int64_t n = 0, k = 0;           // of the forward, as in GemmCall
  std::span<const std::int64_t> rows;  // of each expert, side by side
};
// Weights are [expert, n, k]. forward and dgrad write bf16; wgrad adds to fp32 [expert, n, k].
void expert_products(const Blas& blas, Product product, const ExpertRows& experts, const GemmPointers& at);

}  // namespace tw::gpu
