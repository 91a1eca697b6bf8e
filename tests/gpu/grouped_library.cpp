// Products of routed layers for tests/gpu/torch_grouped.py: ours and a cuBLASLt product per expert, as C
// functions on PyTorch's memory and stream.
#include <map>

#include "kernels/backend/gpu/gemm.hpp"
#include "kernels/grouped_ops.hpp"
#include "kernels/routing_ops.hpp"

using namespace tw::gpu;

namespace {

struct Call {
  const std::int64_t* rows;  // on the GPU
  std::int64_t groups, total, n, k;
  const void *left, *right;
  void *out, *act;
  const float* factor;
  Stream stream;
};

// A product per expert, planned once for each number of rows.
class Loop {
 public:
  Loop(Product product, const Call& call, const std::int64_t* rows)
      : product_(product), blas_(call.stream), rows_(rows, rows + call.groups) {
    const Into into = product == Product::wgrad ? Into::fp32_sum : Into::bf16;
    for (const std::int64_t m : rows_) {
      if (m > 0 && !gemms_.contains(m)) gemms_.emplace(m, Gemm(blas_, {product, m, call.n, call.k, into}));
    }
  }
  void run(const Call& call) const {
    const bool forward = product_ == Product::forward, wgrad = product_ == Product::wgrad;
    std::int64_t before = 0, weight = 0;
    for (const std::int64_t m : rows_) {
      const auto at = [](const void* base, std::int64_t element, std::int64_t bytes) {
        return static_cast<char*>(const_cast<void*>(base)) + element * bytes;
      };
      if (m > 0)
        gemms_.at(m).run(
            {at(call.left, before * (forward ? call.k : call.n), 2),
             at(call.right, wgrad ? before * call.k : weight, 2),
             wgrad ? at(call.out, weight, 4) : at(call.out, before * (forward ? call.n : call.k), 2)});
      before += m, weight += call.n * call.k;
    }
  }

 private:
  Product product_;
  Blas blas_;
  std::vector<std::int64_t> rows_;
  std::map<std::int64_t, Gemm> gemms_;
};

}  // namespace

extern "C" {

// product: 0 forward, 1 dgrad, 2 wgrad, 3 forward with SwiGLU of n / 2 columns.
void tw_grouped(int product, const Call* call) {
  const Call& c = *call;
  const GroupedRows rows{c.rows, c.groups, c.groups, c.total};
  if (product == 0) grouped_forward({c.n, c.k}, rows, c.left, c.right, c.out, c.stream);
  if (product == 1) grouped_dgrad({c.n, c.k}, rows, c.left, c.right, c.out, c.stream);
  if (product == 2) grouped_wgrad({c.n, c.k}, rows, c.left, c.right, static_cast<float*>(c.out), c.stream);
  if (product == 3) grouped_swiglu({c.n / 2, c.k}, rows, c.left, c.right, {c.factor, c.out, c.act}, c.stream);
}

// host_rows: of each group.
void* tw_loop_made(int product, const Call* call, const std::int64_t* host_rows) {
  return new Loop(static_cast<Product>(product), *call, host_rows);
}
void tw_loop_run(const void* loop, const Call* call) {
  static_cast<const Loop*>(loop)->run(*call);
}
void tw_loop_ended(const void* loop) {
  delete static_cast<const Loop*>(loop);
}

void tw_swiglu(const Call* call) {
  const Call& c = *call;
  routed_swiglu_forward({c.total, c.n / 2}, c.out, c.factor, c.act, c.stream);
}
}
