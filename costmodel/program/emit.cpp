#include <algorithm>
#include <cmath>

#include "costmodel/blocks/attention_core.hpp"
#include "costmodel/blocks/block.hpp"
#include "costmodel/program/work.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

TensorSpec residual_stream(const Builder& b) {
  // Under autocast the embedding's rows, and all that is added to them, stay in fp32.
  const std::int64_t bytes = *b.input().profile->state.autocast ? size_of(DType::fp32) : size_of(DType::bf16);
  return {.name = "residual",
          .rows = b.tokens(),
          .width = b.model().hidden,
          .place = b.residual(),
          .element_bytes = bytes};
}

void rename_terms(OpList& ops, Term term) {
  for (Op& op : ops) {
    if (op.stream == Stream::compute) op.term = term;
  }
}

EmitInput without_recompute(EmitInput input) {
  input.key.recompute = {};
  return input;
}

LayerWork chunked_head(Builder& b, TensorId x);

}  // namespace

// Slices of the vocabulary as prime-rl cuts them.
constexpr std::int64_t kVocabChunk = 8192;

LossCall loss_call(const EmitInput& input) {
  LossCall call;
  call.kernel = *input.profile->kernels.loss;
  call.rows = static_cast<std::int64_t>(input.key.mb) * input.seq / input.key.cp;
  call.hidden = input.model->hidden;
  call.vocab = local_vocab(*input.model, *input.profile, input.key.tp);
  const bool by_rows = call.kernel == LossKernel::row_chunks;
  call.chunk = by_rows ? *input.profile->kernels.loss_rows : std::min(kVocabChunk, call.vocab);
  call.trained = !adapts(input.training);
  call.cast_head = *input.profile->state.autocast;
  return call;
}

std::int64_t local_vocab(const Model& model, const Profile& profile, std::int32_t tp) {
  const std::int64_t multiple = profile.kernels.vocab_multiple, ranks = tp * multiple;
  return (model.vocab + ranks - 1) / ranks * multiple;
}

PassKey pass_key(const Layout& l) {
  PassKey key;
  key.mb = l.mb, key.tp = l.tp, key.cp = l.cp, key.ep = l.ep, key.etp = l.etp;
  key.sp = l.sp;
  key.cp_kind = l.cp_kind;
  key.dispatch = l.dispatch;
  key.precision = l.precision;
  key.recompute = l.recompute;
  return key;
}

LayerWork emit_layer(const EmitInput& input, const LayerKind& kind) {
  Builder b(input);
  TensorId x = b.source(residual_stream(b));
  const auto blocks = all_blocks();
  int applied = 0;
  for (const Block* block : in_display_order(blocks)) {
    if (!block->applies(kind)) continue;
    const TensorId normed = b.norm("norm", x);
    x = b.add(x, b.require(block->emit(b, kind, normed), b.residual()), b.kernels().dropout);
    b.enter(Module::other);
    ++applied;
  }
  TW_CHECK(applied == 1 || applied == 2);
  return b.finish(x);
}

LayerWork emit_attention(const EmitInput& input, const Attention& a) {
  Builder b(input);
  const TensorSpec qkv{
      .name = "qkv",
      .rows = b.tokens(),
      .width = std::int64_t{a.heads + a.kv_heads} * a.head_dim + std::int64_t{a.kv_heads} * a.value_dim,
      .place = cut(AxisName::heads)};
  return b.finish(attend(b, a, a.kv_heads, b.source(qkv)));
}

// Vocabulary cut over tp: rows of other ranks give zeros, so the output is a partial sum.
LayerWork emit_embedding(const EmitInput& input) {
  Builder b(without_recompute(input));
  const Model& model = b.model();
  const std::int64_t tp = input.key.tp, elements = std::int64_t{model.vocab} * model.hidden;
  const std::int64_t local = local_vocab(model, *input.profile, input.key.tp) * model.hidden;
  Weight table{"embedding", elements, local, Scope::attention, false, true};
  table.rows = {{model.vocab, local / model.hidden, 1, tp > 1}};
  table.columns = table.local_columns = model.hidden;
  const std::int16_t weight = b.weight(table);
  TensorSpec out = residual_stream(b);
  out.place = tp > 1 ? kPartial : kWhole;
  const double rows = b.tokens() * model.hidden;
  const double gradient = static_cast<double>(size_of(input.profile->state.gradient));
  TensorId x = b.pointwise({.name = "embedding",
                            .what = Operator::embed,
                            .out = out,
                            .forward_bytes = 4 * rows,
                            .backward_bytes = adapts(input.training) ? 0 : (2 + 2 * gradient) * rows,
                            .weight = weight},
                           {});
  if (model.positions == Positions::learned) {
    const std::int64_t positions = std::int64_t{model.max_positions} * model.hidden;
    b.weight({"positions", positions, positions, Scope::attention, false, true});
    x = b.pointwise({.name = "positions", .out = out, .forward_bytes = 6 * rows, .backward_bytes = 2 * rows},
                    {x});
  }
  LayerWork work = b.finish(b.require(x, b.residual()));
  rename_terms(work.forward, Term::embedding);
  rename_terms(work.backward, Term::embedding);
  return work;
}

// A head whose kernel never holds all logits: it brings its own operations.
namespace {
LayerWork chunked_head(Builder& b, TensorId x) {
  const Model& model = b.model();
  if (!model.tied_embeddings) {
    const std::int64_t local = local_vocab(model, *b.input().profile, b.input().key.tp) * model.hidden;
    b.weight({"lm_head", std::int64_t{model.vocab} * model.hidden, local, Scope::attention, false, false});
  }
  const LossOps ops = loss_ops(loss_call(b.input()));
  const TensorSpec scalar{
      .name = "loss", .rows = b.tokens(), .width = 1, .place = kWhole, .element_bytes = 4};
  LayerWork work = b.finish(b.kernels_of("loss", b.require(x, kWhole), scalar, ops.forward, ops.backward));
  rename_terms(work.forward, Term::head);
  rename_terms(work.backward, Term::head);
  return work;
}
}  // namespace

// Final norm, LM head with the vocabulary cut over tp, cross-entropy with three small all-reduces
// (maximum, target logit, sum of exponentials; Shoeybi et al. 2019, section 3).
LayerWork emit_head(const EmitInput& input) {
  Builder b(without_recompute(input));
  const Model& model = b.model();
  const TensorId x = b.norm("final_norm", b.source(residual_stream(b)));
  const bool by_rows = *b.kernels().loss == LossKernel::row_chunks;
  if (!by_rows && *b.kernels().loss != LossKernel::whole) return chunked_head(b, x);
  const std::int64_t padded = local_vocab(model, *input.profile, input.key.tp) * input.key.tp;
  const KernelMechanisms& k = b.kernels();
  const bool gathered = k.gathered_logits && input.key.tp > 1;
  const TensorId local = b.linear({.name = "lm_head",
                                   .out = padded,
                                   .counted_out = model.vocab,
                                   .split = Split::column,
                                   .axis = AxisName::vocab,
                                   .low_precision = false,
                                   .tied = model.tied_embeddings,
                                   .at_once = by_rows ? *b.kernels().loss_rows : 0.0},
                                  b.require(x, kWhole));
  const TensorId logits = gathered ? b.require(local, kWhole) : local;
  const double bytes = by_rows
                           ? b.tokens() * static_cast<double>(padded / input.key.tp * size_of(DType::bf16))
                           : static_cast<double>(b.local_bytes(logits));
  // Passes over bf16 logits. Fused: one read forward; one read and one write backward, or the write alone
  // where one kernel does both. Unfused as the profile counts it; PyTorch: a cast to fp32 (1 + 2),
  // log-softmax (2 + 2), gather; backward softmax (2 + 2) and the cast (2 + 1). Gathered into a list of
  // parts, they are copied out of the collective and joined: 2 + 2 more.
  const bool fused = k.fused_loss, once = by_rows && input.key.tp == 1;
  const double lists = gathered ? 4 : 0;
  for (std::int32_t i = 0; i < input.profile->host.sync_per_microbatch; ++i) b.host_sync("loss_value");
  const TensorSpec scalar{
      .name = "loss", .rows = b.tokens(), .width = 3, .place = kWhole, .element_bytes = 4};
  TensorId loss = b.pointwise({.name = "loss",
                               .what = Operator::score,
                               .out = scalar,
                               .forward_bytes = (lists + (fused ? 1 : k.loss_forward_passes)) * bytes,
                               .backward_bytes = (once    ? 1
                                                  : fused ? 2
                                                          : k.loss_backward_passes) *
                                                 bytes,
                               .keeps_input = true,
                               .keeps_output = true,
                               .launches = static_cast<std::int16_t>(fused ? 2 : 6)},
                              {logits});
  if (input.key.tp > 1 && !gathered) {
    const CollectiveWork reduce{Collective::all_reduce, attention_group(bit(Dim::tp)),
                                Bytes(3 * std::llround(b.tokens()) * size_of(DType::fp32))};
    loss = b.exchange({.name = "loss_reduce",
                       .what = Operator::merge_scores,
                       .out = scalar,
                       .work = reduce,
                       .term = Term::tp,
                       .summary = true},
                      loss);
  }
  LayerWork work = b.finish(loss);
  rename_terms(work.forward, Term::head);
  rename_terms(work.backward, Term::head);
  return work;
}

// What is before the layer of a multi-token-prediction module: the hidden state and the embedding of the
// next token, each normed, side by side through one projection (DeepSeek-V3, arXiv 2412.19437, section 2.2).
LayerWork emit_mtp_entry(const EmitInput& input) {
  Builder b(without_recompute(input));
  const TensorId hidden = b.norm("mtp_hidden_norm", b.source(residual_stream(b)));
  const TensorId next = b.norm("mtp_embedding_norm", b.source(residual_stream(b)));
  TensorSpec both = residual_stream(b);
  both.name = "mtp_input", both.width *= 2;
  const double bytes = 2 * 2 * static_cast<double>(b.local_bytes(hidden));  // both read, both written
  const TensorId joined = b.pointwise(
      {.name = "mtp_input", .out = both, .forward_bytes = bytes, .backward_bytes = bytes}, {hidden, next});
  const LinearSpec projection{.name = "mtp_projection",
                              .out = b.model().hidden,
                              .split = Split::replicated,
                              .axis = AxisName::hidden};
  return b.finish(b.linear(projection, joined));
}

}  // namespace tw
