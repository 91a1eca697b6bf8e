// Peak memory of one stage: what is kept all step long, what micro-batches in flight keep, and what
// is alive for a moment. Parts follow Korthikanti et al. 2022 (arXiv 2205.05198), section 4, and
// Rajbhandari et al. 2020 (arXiv 1910.02054), section 3.
#pragma once

#include "costmodel/step.hpp"

namespace tw {

// Chunks that one device holds, in pieces of equal in-flight count.
struct HeldChunk {
  KindCounts kinds{};  // layers priced by the pass
  KindCounts plain{};  // layers that full:N leaves alone
  std::int32_t in_flight = 1;
  bool embedding = false, head = false;
  const KindState* head_state = nullptr;  // where it holds the head
};

class StageMemory {
 public:
  StageMemory(const StepContext& context, const Chain& chain);
  void hold(const HeldChunk& chunk);
  MemoryUse use() const;

 private:
  void add_states(const KindState& state, std::int64_t count);
  void add_kept(const KindPass& pass, std::int64_t count);
  void add_moment(const KindPass& pass, const KindState& state);
  std::int64_t gathered() const;

  const StepContext& context_;
  const Chain& chain_;
  MemoryUse use_;
  std::int64_t freed_logits_ = 0;                       // of one micro-batch, before its layers' backward
  std::int64_t moment_ = 0;                             // the largest temporary of any layer held
  std::int64_t gathered_layer_ = 0, gathered_end_ = 0;  // the largest gathered layer, and embedding or head
};

// Bytes of local logits in bf16 for one micro-batch on a rank of tp.
std::int64_t logit_bytes(const StepContext& context, const Layout& layout);

}  // namespace tw
