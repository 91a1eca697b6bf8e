// Causal attention through cuDNN's graph backend. Rows of tokens, [batch, length, heads, head_dim], in
// bf16; keys and values may have fewer heads (GQA). log_sum_exp is [batch, heads, length] in fp32.
#pragma once

#include <memory>

#include "kernels/backend/gpu/dnn_graph.hpp"

namespace tw::gpu {

struct AttentionCall {
  std::int64_t batch = 0, heads = 0, kv_heads = 0, length = 0, head_dim = 0;
  bool backward = false;
  // Elements from a row of q, k or v (and of their gradients) to the next where they lie in packed rows;
  // 0: each by itself, side by side.
  std::int64_t stride = 0;
};

struct AttentionPointers {
  void *q, *k, *v, *out;
  void* log_sum_exp;
  void *dout, *dq, *dk, *dv;  // of a backward
};

class AttentionKernel {
 public:
  AttentionKernel(const Dnn& dnn, const AttentionCall& call);
  ~AttentionKernel();
  void run(const AttentionPointers& at) const;

 private:
  struct Plan;
  std::unique_ptr<Plan> plan_;
};

}  // namespace tw::gpu
