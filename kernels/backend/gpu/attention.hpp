// Attention through cuDNN's graph backend: causal, or of queries that see all keys of a block. Rows of
// tokens, [batch, length, heads, head_dim], in bf16; keys and values may have fewer heads (GQA).
// log_sum_exp is [batch, heads, length] in fp32; a backward may be given that of more blocks than its own.
#pragma once

#include <compare>
#include <memory>

#include "kernels/backend/gpu/dnn_graph.hpp"

namespace tw::gpu {

struct AttentionCall {
  std::int64_t batch = 0, heads = 0, kv_heads = 0, length = 0, head_dim = 0;
  bool backward = false;
  // Elements from a row of q, k or v (and of their gradients) to the next where they lie in packed rows;
  // 0: each by itself, side by side.
  std::int64_t stride = 0;
  // Of blocks of a ring. Causal: as many keys as queries, the first of both at one position.
  bool causal = true;
  std::int64_t kv_length = 0;  // 0: as queries
  std::int64_t kv_stride = 0;  // of k and v where they lie in rows of their own; 0: stride
  std::int64_t sequence = 0;   // rows from a sequence's first to the next one's, of all tensors; 0: length
  friend auto operator<=>(const AttentionCall&, const AttentionCall&) = default;
};

struct AttentionPointers {
  void *q, *k, *v, *out;
  void* log_sum_exp;
  void *dout = nullptr, *dq = nullptr, *dk = nullptr, *dv = nullptr;  // of a backward
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
