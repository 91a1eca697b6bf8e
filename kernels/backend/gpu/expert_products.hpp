// The products of routed layers, an expert after the other, with rows that differ from call to call. The
// algorithm is that of the next multiple of 128 rows, asked for once: asking for each number of rows anew
// takes the host longer than the product takes the GPU.
#pragma once

#include <memory>
#include <span>

#include "kernels/backend/gpu/gemm.hpp"

namespace tw::gpu {

struct ExpertRows {
  std::int64_t n = 0, k = 0;           // of the forward, as in GemmCall
  std::span<const std::int64_t> rows;  // of each expert, side by side
};

class ExpertProducts {
 public:
  explicit ExpertProducts(const Blas& blas);
  ~ExpertProducts();
  // Weights are [expert, n, k]. forward and dgrad write bf16; wgrad adds to fp32 [expert, n, k].
  void run(Product product, const ExpertRows& experts, const GemmPointers& at);

 private:
  struct Plans;
  std::unique_ptr<Plans> plans_;
};

}  // namespace tw::gpu
