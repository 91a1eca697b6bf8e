// Peak memory of one stage: what is kept all step long, what micro-batches in flight keep, and what
// is alive for a moment. Parts follow Korthikanti et al. 2022 (arXiv 2205.05198), section 4, and
// Rajbhandari et al. 2020 (arXiv 1910.02054), section 3. Held against the bytes of a Program's steps.
#pragma once

#include <algorithm>

#include "costmodel/step.hpp"

namespace tw {

// A chunk that one device holds.
struct HeldChunk {
  KindCounts kinds{};  // layers priced by the pass
  KindCounts plain{};  // layers that full:N leaves alone
  std::array<Held, kMostMoments> held{};
  bool embedding = false, head = false;
  const KindState* head_state = nullptr;  // where it holds the head
};

class StageMemory {
 public:
  StageMemory(const StepContext& context, const Chain& chain);
  void hold(const HeldChunk& chunk);
  MemoryUse use() const;

 private:
  // At one of the schedule's moments.
  struct Moment {
    std::int64_t activations = 0, logits = 0;
    std::int64_t gradients = 0;  // whole ones that wait for weight halves
  };
  void add_states(const KindState& state, std::int64_t count);
  void add_kind(const KindPass& pass, const KindState& state, std::int64_t count, const HeldChunk& chunk);
  void add_kept(const KindPass& pass, std::int64_t count, const HeldChunk& chunk);
  void add_embedding(const HeldChunk& chunk);
  void add_head(const HeldChunk& chunk);
  void add_logits(const HeldChunk& chunk);
  void add_whole(std::int64_t bytes, const HeldChunk& chunk);
  std::int64_t temporary(std::int64_t begun) const;
  std::size_t moments() const { return static_cast<std::size_t>(std::max(schedule_.moments, 1)); }
  void add_stage_buffers(const HeldChunk& chunk);

  const StepContext& context_;
  const Chain& chain_;
  const Schedule& schedule_;
  MemoryUse use_;
  std::array<Moment, kMostMoments> moments_{};
  std::int64_t copies_ = 0;        // of logits, beside them
  std::int64_t freed_logits_ = 0;  // of one micro-batch, before its layers' backward
  std::int64_t chunk_kept_ = 0;    // of one micro-batch, by the layers before the embedding's backward
  // The largest of any layer held, of the embedding, of the head: temporaries, gathered parameters, whole
  // gradients. The embedding's gradient, where the head makes a part of it first.
  struct Largest {
    std::int64_t moment = 0, gathered = 0, gradient = 0;
  };
  Largest layer_, embedding_, head_;
  std::int64_t tied_gradient_ = 0;
};

// Bytes of local logits in bf16 for one micro-batch on a rank of tp.
std::int64_t logit_bytes(const StepContext& context, const Layout& layout);

}  // namespace tw
