// Models small enough to run every layout of a few ranks, with grouped heads fewer than some cuts.
#pragma once

#include <string_view>

#include "costmodel/program/program.hpp"

namespace tw {

// 16 heads over 4 KV heads of 8; `layers` layers.
inline Model small_model(bool experts, std::int32_t layers, bool tied = false) {
  Model model;
  model.name = experts ? "small-moe" : "small";
  model.hidden = 64, model.vocab = 200, model.tied_embeddings = tied;
  LayerKind dense;
  dense.attention.heads = 16, dense.attention.kv_heads = 4;
  dense.attention.head_dim = dense.attention.value_dim = 8;
  dense.mlp = Mlp{.ffn = 128};
  LayerKind routed = dense;
  routed.attention.qk_norm = QkNorm::head;
  routed.mlp.reset();
  routed.moe = Moe{.experts = 8, .top_k = 2, .ffn = 32, .shared_ffn = 32};
  for (std::int32_t i = 0; i < layers; ++i) add_layer(model, experts && i > 0 ? routed : dense);
  return model;
}

inline ProgramInput small_input(const Model& model, const Layout& layout, std::int64_t batch,
                                std::int32_t seq = 64) {
  ProgramInput input;
  input.model = model;
  input.profile = load_profile("trainwright");
  input.layout = layout;
  input.job.gpus = layout.gpus(), input.job.global_batch = batch, input.job.seq = seq;
  return input;
}

inline ProgramInput small_input(const Model& model, std::string_view layout, std::int32_t gpus,
                                std::int64_t batch, std::int32_t seq = 64) {
  return small_input(model, parse_layout(layout, gpus), batch, seq);
}

}  // namespace tw
