// Products of a linear layer with weights [out, in], row-major, through cuBLASLt: bf16 operands (or e4m3)
// with fp32 accumulation. The layouts are the training ones, so that nothing is transposed for them:
// forward TN, dgrad NN, wgrad NT in cuBLAS's column-major terms. e4m3 has TN alone on Hopper: callers give
// operands cast and transposed.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/device_ops.hpp"

namespace tw::gpu {

enum class Product : std::uint8_t {
  forward,  // y[m,n] = x[m,k] w[n,k]^T
  dgrad,    // dx[m,k] = dy[m,n] w[n,k]
  wgrad     // dw[n,k] = dy[m,n]^T x[m,k]; m, n, k are always the forward's
};
enum class Operands : std::uint8_t { bf16, e4m3 };

struct GemmCall {
  Product product = Product::forward;
  std::int64_t m = 0, n = 0, k = 0;
  Into into = Into::bf16;
  Operands operands = Operands::bf16;
};

// In the order of the comments of Product: x and w, dy and w, dy and x; the result.
struct GemmPointers {
  const void *left, *right;
  void* out;
};

// One workspace and handle for all calls of one stream.
class Blas {
 public:
  explicit Blas(Stream stream);
  ~Blas();
  struct State;
  State& state() const { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

// A call with its algorithm chosen (the library's first proposal): made once, run often.
class Gemm {
 public:
  Gemm(const Blas& blas, const GemmCall& call);
  ~Gemm();
  Gemm(Gemm&&) noexcept;
  void run(const GemmPointers& at) const;

 private:
  struct Plan;
  std::unique_ptr<Plan> plan_;
};

// One product per expert with its own rows. one_call: cublasGemmGroupedBatchedEx; loop: a cuBLASLt
// product per expert, one after the other.
enum class GroupedForm : std::uint8_t { one_call, loop };
struct GroupedCall {
  Product product = Product::forward;
  std::vector<std::int64_t> rows;  // of each expert
  std::int64_t n = 0, k = 0;
  GroupedForm form = GroupedForm::one_call;
};

class GroupedGemm {
 public:
  GroupedGemm(const Blas& blas, const GroupedCall& call);
  ~GroupedGemm();
  // Rows of all experts lie side by side; weights are [expert, n, k]; wgrad writes [expert, n, k] in bf16.
  // Pointers differ from call to call only through `set`, which waits for nothing.
  void set(const GemmPointers& at);
  void run() const;

 private:
  struct Plan;
  std::unique_ptr<Plan> plan_;
};

}  // namespace tw::gpu
