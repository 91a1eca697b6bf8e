// Which operators of a layer are run again in the backward, what is kept for them, and their replay.
#include <algorithm>
#include <cmath>

#include "costmodel/blocks/builder.hpp"

namespace tw {

// What keeps a recomputed module's output from being stored: these modules discard it and make it
// again before its reader's backward (Megatron-Core, output-discarding checkpoint); core, attention
// and mlp are ordinary checkpoints, whose output stays if a reader needs it.
bool Builder::discards_output(Module module) const {
  return whole_layer() || module == Module::norm || module == Module::moe_act || module == Module::mla_up;
}

bool Builder::module_recomputed(Module module) const {
  const Recompute& chosen = input_.key.recompute;
  if (chosen.full) return true;
  const auto has = [&](std::uint8_t mask) { return (chosen.modules & mask) != 0; };
  switch (module) {
    case Module::core:
      return has(Recompute::core | Recompute::attention);
    case Module::attention:
      return has(Recompute::attention);
    case Module::mla_up:
      return has(Recompute::mla_up | Recompute::attention);
    case Module::mlp:
      return has(Recompute::mlp);
    case Module::moe_act:
      return has(Recompute::moe_act | Recompute::mlp);
    case Module::norm:
      return has(Recompute::norm);
    case Module::other:
      return false;
  }
  return false;
}

void Builder::mark_recomputed() {
  for (Node& node : nodes_) {
    if (node.kind == Kind::source || node.kind == Kind::add) continue;
    node.recomputed = module_recomputed(node.module);
  }
  if (input_.key.recompute.full) {
    for (Node& node : nodes_) node.recomputed = node.kind != Kind::source;
  } else if (whole_layer()) {
    mark_by_operator();
  }
  if (kernels().early_stop && whole_layer()) mark_early_stop();
}

// What follows the last tensor that a backward reads is not made again: the replay ends when that tensor is
// saved, before the operator that saves its input runs (torch.utils.checkpoint, set_checkpoint_early_stop).
void Builder::mark_early_stop() {
  for (std::size_t i = nodes_.size(); i-- > 0;) {
    Node& node = nodes_[i];
    for (const TensorId id : node.needs) {
      if (id.index == node.output.index) return;
    }
    node.replayed = node.recomputed;
    if (!node.needs.empty()) return;
  }
}

// One checkpoint of the whole layer: full, or by operator.
bool Builder::whole_layer() const {
  const Recompute& chosen = input_.key.recompute;
  return chosen.full || (kernels().selective_by_operator && (chosen.modules & Recompute::core) != 0);
}

// The outputs of attention, of reductions and exchanges and of every other GEMM are saved, the first
// one included (torchtitan parallelize_llama, selective_ac_option "op"); the rest is made again.
void Builder::mark_by_operator() {
  std::size_t gemms = 0;
  for (Node& node : nodes_) {
    const bool gathers = node.conversion == Conversion::all_gather || node.conversion == Conversion::slice;
    node.recomputed =
        node.kind == Kind::pointwise || node.kind == Kind::add || (node.kind == Kind::conversion && gathers);
    if (node.kind != Kind::linear) continue;
    double saved = 0, all = 0;
    for (const std::int64_t width : gemm_widths(node.linear)) {
      saved += gemms++ % 2 == 0 ? static_cast<double>(width) : 0;
      all += static_cast<double>(width);
    }
    node.saved = saved / all;
    node.recomputed = node.saved < 1;
  }
}

// The tensor that is kept in place of `id`: a gathered or sliced one is made again from its source.
TensorId Builder::stored(TensorId id) const {
  const Node* producer = producer_of(id);
  if (!producer || producer->kind != Kind::conversion) return id;
  const bool gathered = producer->conversion == Conversion::all_gather && kernels().regather_input;
  return gathered || producer->conversion == Conversion::slice ? stored(producer->inputs[0]) : id;
}

void Builder::keep(TensorId id, bool low) {
  id = stored(id);
  const Node* producer = producer_of(id);
  if (producer && producer->recomputed && discards_output(producer->module)) return;
  (low ? at(id).kept_low : at(id).kept) = true;
}

void Builder::mark_kept() {
  for (const Node& node : nodes_) {
    if (!node.recomputed) {
      for (const TensorId id : node.needs) keep(id, keeps_low(node));
      continue;
    }
    if (node.replayed && kernels().compiled) continue;  // nothing after it in the replay: not made again
    for (const TensorId id : node.inputs) {
      const Node* producer = producer_of(id);
      if (!producer || !producer->recomputed) keep(id);
    }
  }
}

// What the weight half of a linear needs: its input as it reads it, gathered again or quantised, and the
// gradient of its output.
void Builder::measure_deferred() {
  std::vector<bool> counted(tensors_.size());
  for (const Node& node : nodes_) {
    if (node.kind != Kind::linear || node.linear.frozen) continue;
    const TensorId input = node.inputs[0];
    work_.deferred_bytes += local_bytes(node.output);
    const bool own = stored(input).index != input.index;  // a conversion for this reader alone
    if (!own && counted[static_cast<std::size_t>(input.index)]) continue;
    counted[static_cast<std::size_t>(input.index)] = true;
    work_.deferred_bytes += keeps_low(node) ? low_bytes(at(input).spec) : local_bytes(input);
  }
}

void Builder::measure() {
  measure_deferred();
  for (const Tensor& tensor : tensors_) {
    if (tensor.kept) work_.kept_bytes += bytes_of(tensor.spec);
    if (tensor.kept_low) work_.kept_bytes += low_bytes(tensor.spec);
  }
  std::vector<bool> counted(tensors_.size());
  for (const Node& node : nodes_) {
    std::int64_t set = 2 * local_bytes(node.output);  // value and gradient
    for (const TensorId id : node.inputs) set += 2 * local_bytes(id);
    work_.widest_bytes = std::max(work_.widest_bytes, set);
    const std::int64_t beside =
        node.kind == Kind::attention ? node.attention.statistics.count : node.pointwise.kept_bytes;
    (node.recomputed ? work_.recomputed_bytes : work_.kept_bytes) += beside;
    if (!node.recomputed) continue;
    work_.kept_bytes += std::llround(node.saved * static_cast<double>(local_bytes(node.output)));
    for (TensorId id : node.needs) {
      id = stored(id);
      const bool there = at(id).kept || at(id).kept_low;
      if (there || counted[static_cast<std::size_t>(id.index)] || !producer_of(id)->recomputed) continue;
      counted[static_cast<std::size_t>(id.index)] = true;
      work_.recomputed_bytes += local_bytes(id);
    }
  }
}

void Builder::replay_for(const Node& reader) {
  for (const TensorId need : reader.needs) {
    const Node* producer = producer_of(stored(need));
    const bool there = at(stored(need)).kept || at(stored(need)).kept_low;
    if (!there && producer && producer->recomputed && !producer->replayed) {
      replay(at(stored(need)).producer);
    }
  }
}

// Runs the forward of a recomputed node again: with the rest of its checkpoint, or alone where its
// module only discards outputs. What it reads from another checkpoint is made again first.
void Builder::replay(std::int32_t index) {
  const Module wanted = checkpoint(nodes_[static_cast<std::size_t>(index)].module);
  const bool alone = !whole_layer() && discards_output(wanted);
  // The up projections of latents are one checkpoint, whichever of them is read first.
  const bool begun = wanted == Module::mla_up && std::any_of(nodes_.begin(), nodes_.end(), [](const Node& n) {
                       return n.module == Module::mla_up && n.replayed;
                     });
  const std::size_t first = work_.backward.size();
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    Node& node = nodes_[i];
    const bool chosen = alone ? static_cast<std::int32_t>(i) == index : checkpoint(node.module) == wanted;
    if (!node.recomputed || node.replayed || !chosen) continue;
    node.replayed = true;
    for (const TensorId id : node.inputs) make_ready(id);
    at(node.output).ready = forward_ops(node, work_.backward, true);
  }
  if (work_.backward.size() > first && !begun) ++work_.backward[first].checkpoints;
}

// A tensor that a replay reads: made again, or there since the forward.
void Builder::make_ready(TensorId id) {
  const Node* producer = producer_of(id);
  if (producer && producer->recomputed && !producer->replayed) return replay(at(id).producer);
  if (!producer || !producer->replayed) at(id).ready = {{}, -1, at(id).value};
}

// The checkpoint that a module is replayed with: attention holds its core and the up projections of
// latents, mlp the activation of experts; full is one of all.
Module Builder::checkpoint(Module module) const {
  const Recompute& chosen = input_.key.recompute;
  const bool in_attention = module == Module::core || module == Module::mla_up;
  if (whole_layer()) return Module::other;
  if (in_attention && (chosen.modules & Recompute::attention) != 0) return Module::attention;
  if (module == Module::moe_act && (chosen.modules & Recompute::mlp) != 0) return Module::mlp;
  return module;
}

}  // namespace tw
