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

StageMemory::StageMemory(const StepContext& context, const Chain& chain)
    : context_(context), chain_(chain), schedule_(schedule_at(chain.layout->schedule)) {
  use_[MemoryPart::context] = context.machine.calibration->context().count;
  use_[MemoryPart::communicators] = chain.state->communicators;
  use_[MemoryPart::temporary] = context.machine.profile->memory.workspace.count;
}

void StageMemory::add_states(const KindState& state, std::int64_t count) {
  use_[MemoryPart::parameters] += count * state.parameters;
  use_[MemoryPart::gradients] += count * state.gradients;
  use_[MemoryPart::optimizer] += count * state.moments;
}

void StageMemory::add_kept(const KindPass& pass, std::int64_t count, const HeldChunk& chunk) {
  for (std::size_t i = 0; i < moments(); ++i) {
    const Held& held = chunk.held[i];
    moments_[i].activations += count * (held.forwards * pass.kept + held.deferred * pass.deferred);
  }
}

// Backwards without their weight halves have begun the gradients of all units that they went through.
void StageMemory::add_whole(std::int64_t bytes, const HeldChunk& chunk) {
  for (std::size_t i = 0; i < moments(); ++i)
    if (chunk.held[i].deferred > 0) moments_[i].gradients += bytes;
}

void StageMemory::add_kind(const KindPass& pass, const KindState& state, std::int64_t count,
                           const HeldChunk& chunk) {
  add_kept(pass, count, chunk);
  add_whole(count * state.whole_gradient, chunk);
  chunk_kept_ += chunk.embedding ? count * pass.kept : 0;
  layer_.moment = std::max(layer_.moment, pass.recomputed + pass.widest);
  layer_.gathered = std::max(layer_.gathered, state.gathered);
  layer_.gradient = std::max(layer_.gradient, state.whole_gradient);
}

// The input of a micro-batch in flight lies in its receive buffer, as its first layer's kept input.
void StageMemory::add_stage_buffers(const HeldChunk& chunk) {
  const Layout& l = *chain_.layout;
  if (l.pp == 1 || !*context_.machine.profile->memory.stage_buffers) return;
  const std::int64_t all = microbatches(l, context_.job);
  const std::int64_t part =
      local_tokens(context_, l) * context_.job.model->hidden * size_of(DType::bf16) / (l.sp ? l.tp : 1);
  for (std::size_t i = 0; i < moments(); ++i) {
    const std::int64_t in_flight = chunk.held[i].forwards + chunk.held[i].deferred;
    const std::int64_t inputs = chunk.embedding ? 0 : all - in_flight;
    const std::int64_t outputs = chunk.head ? 0 : all + in_flight;
    moments_[i].activations += (inputs + outputs) * part;
    if (chunk.head) moments_[i].logits += (all - in_flight) * logit_bytes(context_, l);
  }
}

void StageMemory::hold(const HeldChunk& chunk) {
  add_stage_buffers(chunk);
  for (std::size_t i = 0; i < chain_.pass->kinds.size(); ++i) {
    const std::int64_t own = chunk.kinds[i], plain = chunk.plain[i];
    if (own + plain == 0) continue;
    add_states(chain_.state->kinds[i], own + plain);
    if (own > 0) add_kind(chain_.pass->kinds[i], chain_.state->kinds[i], own, chunk);
    if (plain > 0) add_kind(chain_.plain->kinds[i], chain_.state->kinds[i], plain, chunk);
  }
  if (chunk.embedding) add_embedding(chunk);
  if (chunk.head) add_head(chunk);
}

void StageMemory::add_embedding(const HeldChunk& chunk) {
  const KindState& state = chain_.state->embedding;
  add_states(state, 1);
  add_whole(state.whole_gradient, chunk);
  embedding_.moment = chain_.pass->embedding.recomputed + chain_.pass->embedding.widest;
  embedding_.gathered = state.gathered;
  embedding_.gradient = state.whole_gradient;
}

// Most schedules take the head's micro-batch straight from forward to backward; gpipe keeps the logits of
// all, and those that split weight halves off their gradients. One set is that of the head and of each
// multi-token-prediction module, whose losses are summed before the backward.
void StageMemory::add_head(const HeldChunk& chunk) {
  const KindState& state = *chunk.head_state;
  add_states(state, 1);
  add_whole(state.whole_gradient, chunk);
  const std::int32_t mtp = context_.job.model->mtp_layers;
  if (mtp > 0) {
    add_states(chain_.state->mtp_entry, mtp);
    add_kept(chain_.pass->mtp_entry, mtp, chunk);
    if (!chunk.embedding) add_states(chain_.state->embedding, 1);
  }
  add_kept(chain_.pass->head, 1 + mtp, chunk);
  head_.gathered = state.gathered;
  head_.gradient = state.made_gradient;
  const bool tied = context_.job.model->tied_embeddings && &state == &chain_.state->head;
  if (tied) {  // the table is gathered with the head
    tied_gradient_ = chain_.state->embedding.whole_gradient;
    head_.gathered += chain_.state->embedding.gathered;
  }
  add_logits(chunk);
}

void StageMemory::add_logits(const HeldChunk& chunk) {
  const Profile& profile = *context_.machine.profile;
  const LossKernel kernel = *profile.kernels.loss;
  const EmitInput input{
      context_.job.model,   &profile, pass_key(*chain_.layout), context_.job.seq, {}, false, false,
      context_.job.training};
  if (kernel != LossKernel::whole && kernel != LossKernel::row_chunks) {
    copies_ += loss_bytes(loss_call(input));
    return;
  }
  // The gradient of the head's input stands beside those of the logits.
  head_.moment = local_tokens(context_, *chain_.layout) * context_.job.model->hidden * size_of(DType::bf16);
  if (kernel == LossKernel::row_chunks) {  // there in the head's backward alone
    head_.moment += loss_bytes(loss_call(input));
    return;
  }
  const std::int64_t set = (1 + context_.job.model->mtp_layers) * logit_bytes(context_, *chain_.layout);
  for (std::size_t i = 0; i < moments(); ++i) {
    const std::int64_t logits = (chunk.held[i].forwards + chunk.held[i].deferred) * set;
    moments_[i].activations -= logits;  // kept by the loss, shown as logits
    moments_[i].logits += logits;
  }
  copies_ += std::llround(profile.memory.logit_copies * static_cast<double>(2 * set));
  if (!schedule_.splits_weight) freed_logits_ = set + copies_;
}

// Beyond what is kept: in the head, in the backward of a layer, whose room the loss's logits leave free, or
// in that of the embedding, when those of its chunk are done. The unit that comes next is gathered too.
// Whole gradients: of the unit at work, or those that have begun and wait.
std::int64_t StageMemory::temporary(std::int64_t begun) const {
  const double count = context_.machine.profile->state.gathered_layers;
  const bool waits = schedule_.splits_weight;  // what layers keep is there until the embedding's turn
  const auto gathered = [&](std::int64_t own) {
    const double next = static_cast<double>(std::max(layer_.gathered, waits ? embedding_.gathered : 0));
    return std::llround(count <= 1 ? count * static_cast<double>(own)
                                   : static_cast<double>(own) + (count - 1) * next);
  };
  const auto whole = [&](const Largest& unit) {
    return begun > 0 ? begun : unit.gradient + (&unit == &embedding_ ? 0 : tied_gradient_);
  };
  const std::int64_t beside = std::max<std::int64_t>(head_.moment - copies_, 0);  // copies are gone by then
  const std::int64_t head = beside + gathered(head_.gathered) + whole(head_);
  const std::int64_t layer = layer_.moment + gathered(layer_.gathered) + whole(layer_) - freed_logits_;
  const std::int64_t embedding =
      embedding_.moment + embedding_.gathered + whole(embedding_) - chunk_kept_ - freed_logits_;
  return std::max({head_.gathered + head_.moment > 0 ? head : 0, layer, embedding, std::int64_t{0}});
}

MemoryUse StageMemory::use() const {
  const MemoryMechanisms& m = context_.machine.profile->memory;
  // A caching allocator moves nothing: the few large tensors of an unfused loss do not fit where a layer's
  // temporaries lay, between those that are kept.
  const std::int64_t apart = m.loss_apart ? std::min(layer_.moment, freed_logits_) : 0;
  MemoryUse out;
  for (std::size_t i = 0; i < moments(); ++i) {
    MemoryUse at = use_;
    at[MemoryPart::activations] = moments_[i].activations;
    at[MemoryPart::logits] = moments_[i].logits + copies_;
    at[MemoryPart::temporary] += temporary(moments_[i].gradients);
    const std::int64_t moving =
        at[MemoryPart::activations] + at[MemoryPart::temporary] + at[MemoryPart::logits];
    at[MemoryPart::slack] = apart + std::llround(m.allocator_slack * static_cast<double>(moving));
    if (i == 0 || at.total() > out.total()) out = at;
  }
  return out;
}

}  // namespace tw
