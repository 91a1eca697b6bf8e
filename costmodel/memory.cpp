#include "costmodel/memory.hpp"

#include <algorithm>
#include <cmath>

namespace tw {
namespace {

std::int64_t local_tokens(const StepContext& context, const Layout& layout) {
  return std::int64_t{layout.mb} * context.job.seq / layout.cp;
}

}  // namespace

std::int64_t logit_bytes(const StepContext& context, const Layout& layout) {
  const Profile& profile = *context.machine.profile;
  const std::int64_t vocab = local_vocab(*context.job.model, profile, layout.tp);
  const std::int64_t parts = profile.kernels.gathered_logits ? layout.tp : 1;
  return local_tokens(context, layout) * vocab * parts * size_of(DType::bf16);
}

StageMemory::StageMemory(const StepContext& context, const Chain& chain) : context_(context), chain_(chain) {
  use_[MemoryPart::context] = context.machine.calibration->context().count;
  use_[MemoryPart::communicators] = chain.state->communicators;
  use_[MemoryPart::temporary] = context.machine.profile->memory.workspace.count;
}

void StageMemory::add_states(const KindState& state, std::int64_t count) {
  use_[MemoryPart::parameters] += count * state.parameters;
  use_[MemoryPart::gradients] += count * state.gradients;
  use_[MemoryPart::optimizer] += count * state.moments;
}

void StageMemory::add_kept(const KindPass& pass, std::int64_t count) {
  use_[MemoryPart::activations] += count * pass.kept;
}

void StageMemory::add_moment(const KindPass& pass, const KindState& state) {
  moment_ = std::max(moment_, pass.recomputed + pass.widest);
  gathered_layer_ = std::max(gathered_layer_, state.gathered);
}

void StageMemory::hold(const HeldChunk& chunk) {
  for (std::size_t i = 0; i < chain_.pass->kinds.size(); ++i) {
    const std::int64_t own = chunk.kinds[i], plain = chunk.plain[i];
    if (own + plain == 0) continue;
    add_states(chain_.state->kinds[i], own + plain);
    add_kept(chain_.pass->kinds[i], own * chunk.in_flight);
    add_moment(chain_.pass->kinds[i], chain_.state->kinds[i]);
    if (plain == 0) continue;
    add_kept(chain_.plain->kinds[i], plain * chunk.in_flight);
    add_moment(chain_.plain->kinds[i], chain_.state->kinds[i]);
  }
  if (chunk.embedding) {
    add_states(chain_.state->embedding, 1);
    moment_ = std::max(moment_, chain_.pass->embedding.recomputed + chain_.pass->embedding.widest);
    gathered_end_ = std::max(gathered_end_, chain_.state->embedding.gathered);
  }
  if (!chunk.head) return;
  // Most schedules take the head's micro-batch straight from forward to backward; gpipe keeps the logits of
  // all, and zb-h1 their gradients for the weight halves that wait. One set is that of the head and of each
  // multi-token-prediction module, whose losses are summed before the backward.
  add_states(*chunk.head_state, 1);
  const std::int32_t mtp = context_.job.model->mtp_layers;
  if (mtp > 0) {
    add_states(chain_.state->mtp_entry, mtp);
    add_kept(chain_.pass->mtp_entry, mtp * chunk.in_flight);
    if (!chunk.embedding) add_states(chain_.state->embedding, 1);
  }
  add_kept(chain_.pass->head, (1 + mtp) * chunk.in_flight);
  gathered_end_ = std::max(gathered_end_, chunk.head_state->gathered);
  const Profile& profile = *context_.machine.profile;
  if (*profile.kernels.loss != LossKernel::whole) {
    const EmitInput input{
        context_.job.model,   &profile, pass_key(*chain_.layout), context_.job.seq, {}, false, false,
        context_.job.training};
    use_[MemoryPart::logits] += loss_bytes(loss_call(input));
    return;
  }
  const std::int64_t set = (1 + mtp) * logit_bytes(context_, *chain_.layout), logits = chunk.in_flight * set;
  use_[MemoryPart::activations] -= logits;  // kept by the loss, shown as logits
  const double copies = profile.memory.logit_copies * static_cast<double>(2 * set);
  use_[MemoryPart::logits] += logits + std::llround(copies);
  if (!schedule_at(chain_.layout->schedule).splits_weight) freed_logits_ = set + std::llround(copies);
}

// Of neighbours that are whole at once, at most one is an embedding or a head.
std::int64_t StageMemory::gathered() const {
  const double count = context_.machine.profile->state.gathered_layers;
  const double largest = static_cast<double>(std::max(gathered_layer_, gathered_end_));
  return std::llround(count <= 1 ? count * largest
                                 : largest + (count - 1) * static_cast<double>(gathered_layer_));
}

MemoryUse StageMemory::use() const {
  MemoryUse out = use_;
  const MemoryMechanisms& m = context_.machine.profile->memory;
  // The loss frees its logits before the backward of a layer takes its moment's room.
  const std::int64_t beyond_logits = std::max<std::int64_t>(moment_ - freed_logits_, 0);
  out[MemoryPart::temporary] += beyond_logits + gathered();
  const std::int64_t moving =
      out[MemoryPart::activations] + out[MemoryPart::temporary] + out[MemoryPart::logits];
  out[MemoryPart::slack] = std::llround(m.allocator_slack * static_cast<double>(moving));
  return out;
}

}  // namespace tw
