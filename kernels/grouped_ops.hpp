// Products of routed layers in one launch, over rows that lie group by group (an expert's rows side by
// side). How many rows each group has is read from the GPU's memory: the host need not know. bf16 operands,
// fp32 sums, on Hopper's wgmma and TMA. Row widths n and k are multiples of 8, pointers 16-byte aligned.
#pragma once

#include "kernels/device_ops.hpp"

namespace tw::gpu {

struct GroupedRows {
  const std::int64_t* rows = nullptr;  // of each group, on the GPU
  std::int64_t groups = 0;
  std::int64_t weights = 0;  // group g has the weight g % weights
  std::int64_t total = 0;    // rows of all groups; where they are none, nothing is done
};

// x [total, k], w [weights, n, k], y [total, n]; n and k are always the forward's.
struct GroupedShape {
  std::int64_t n, k;
};

// y = x w^T
void grouped_forward(GroupedShape shape, const GroupedRows& rows, const void* x, const void* w, void* y,
                     Stream stream);
// dx = dy w
void grouped_dgrad(GroupedShape shape, const GroupedRows& rows, const void* dy, const void* w, void* dx,
                   Stream stream);
// dw += dy^T x, fp32 [weights, n, k]; or what was there is written over, with zeros where a weight has no
// rows
void grouped_wgrad(GroupedShape shape, const GroupedRows& rows, const void* dy, const void* x, float* dw,
                   Stream stream, Into into = Into::fp32_sum);

// The forward with SwiGLU in its epilogue: w [weights, 2 width, k] is [gate | up], and act[r] = factor[r]
// silu(gate) up of gate_up rounded to bf16, which is kept. width: a multiple of kStep. No factor: 1.
struct GroupedSwiglu {
  static constexpr std::int64_t kStep = 128;
  std::int64_t width, k;
};
struct GroupedActivation {
  const float* factor;  // [total] or null
  void *gate_up, *act;  // [total, 2 width], [total, width]
};
void grouped_swiglu(GroupedSwiglu shape, const GroupedRows& rows, const void* x, const void* w,
                    const GroupedActivation& out, Stream stream);

}  // namespace tw::gpu
