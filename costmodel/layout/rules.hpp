// The questions that the rules of legality.cpp ask of a layout and a job; included by it alone, and
// inline because the search asks millions of times.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string_view>

#include "costmodel/layout/layout.hpp"

namespace tw::rules {

struct Input {
  const Layout& layout;
  const Job& job;
  const Model& model;
  const Moe* moe;
};
using In = const Input&;

constexpr std::int64_t wide(std::int32_t value) {
  return value;
}

inline bool out_of_range(std::int32_t size) {
  return size < 1 || size > kLayoutLimit;
}

inline bool any_out_of_range(const Layout& l) {
  return out_of_range(l.dp) || out_of_range(l.tp) || out_of_range(l.pp) || out_of_range(l.cp) ||
         out_of_range(l.ep) || out_of_range(l.etp) || out_of_range(l.vpp) || out_of_range(l.mb) ||
         l.hsdp < 0 || l.hsdp > kLayoutLimit || l.zero < 0 || l.zero > 3 || l.schedule >= kSchedules;
}

// Stops before a product can pass 2^60: every size is at most 2^20.
inline bool makes_gpus(const Layout& l, std::int32_t gpus) {
  const std::int64_t three = wide(l.dp) * l.tp * l.pp;
  return three <= gpus && three * l.cp == gpus;
}

// The first kind of layer for which the test holds, or nullptr.
template <class Test>
inline const LayerKind* kind_where(const Model& model, Test test) {
  for (const LayerKind& kind : model.kinds) {
    if (test(kind)) return &kind;
  }
  return nullptr;
}

inline const LayerKind* heads_uneven(In in) {
  return kind_where(in.model, [&](const LayerKind& k) { return k.attention.heads % in.layout.tp != 0; });
}

inline const LayerKind* scan_uneven(In in) {
  const std::int64_t ranks = wide(in.layout.tp) * in.layout.cp;
  return kind_where(in.model, [&](const LayerKind& k) {
    return k.mamba && (k.mamba->heads % ranks != 0 || k.mamba->groups % in.layout.tp != 0);
  });
}

// Latent attention expands its shared latent into as many k and v heads as q heads.
inline bool has_kv_heads(const LayerKind& kind) {
  return kind.attention.kind == AttentionKind::grouped;
}

inline const LayerKind* kv_uneven(In in) {
  return kind_where(in.model, [tp = in.layout.tp](const LayerKind& k) {
    const std::int32_t kv = k.attention.kv_heads;
    return has_kv_heads(k) && kv % tp != 0 && tp % kv != 0;
  });
}

inline const LayerKind* ffn_uneven(In in) {
  return kind_where(in.model, [&](const LayerKind& k) { return k.mlp && k.mlp->ffn % in.layout.tp != 0; });
}

inline const LayerKind* shared_uneven(In in) {
  return kind_where(in.model,
                    [&](const LayerKind& k) { return k.moe && k.moe->shared_ffn % in.layout.tp != 0; });
}

inline const LayerKind* experts_uneven(In in) {
  return kind_where(in.model,
                    [&](const LayerKind& k) { return k.moe && k.moe->experts % in.layout.ep != 0; });
}

inline const LayerKind* expert_ffn_uneven(In in) {
  return kind_where(in.model, [&](const LayerKind& k) { return k.moe && k.moe->ffn % in.layout.etp != 0; });
}

inline const LayerKind* a2a_heads_uneven(In in) {
  return kind_where(in.model,
                    [&](const LayerKind& k) { return k.attention.heads / in.layout.tp % in.layout.cp != 0; });
}

inline std::int32_t local_kv_heads(const LayerKind& kind, std::int32_t tp) {
  return std::max(1, kind.attention.kv_heads / tp);
}

inline const LayerKind* a2a_kv_uneven(In in) {
  return kind_where(in.model, [&](const LayerKind& k) {
    return has_kv_heads(k) && local_kv_heads(k, in.layout.tp) % in.layout.cp != 0;
  });
}

inline bool has_latent(const Model& model) {
  return kind_where(model, [](const LayerKind& k) { return k.attention.kind == AttentionKind::latent; }) !=
         nullptr;
}

inline std::int64_t chunks(const Layout& l) {
  return wide(l.pp) * l.vpp;
}

inline std::int64_t split_sum(const Layout& l) {
  return std::accumulate(l.split.begin(), l.split.end(), std::int64_t{0});
}

inline bool empty_middle(const std::vector<std::int32_t>& split) {
  for (std::size_t i = 0; i < split.size(); ++i) {
    const bool end = split.size() > 1 && (i == 0 || i + 1 == split.size());
    if (split[i] < (end ? 0 : 1)) return true;
  }
  return false;
}

inline bool even_with_ends(std::int32_t layers, std::int64_t chunks) {
  return layers % chunks == 0 || (layers + 1) % chunks == 0 || (layers + 2) % chunks == 0;
}

inline bool folds_v(std::uint8_t schedule) {
  return schedule == kScheduleZbV || schedule == kScheduleDualpipeV;
}

inline bool vpp_unfit(const Layout& l) {
  if (l.schedule == kScheduleInterleaved) return l.vpp < 2;
  return l.vpp != (folds_v(l.schedule) ? 2 : 1);
}

inline std::int32_t chunk_layers(In in, std::int32_t chunk) {
  const Layout& l = in.layout;
  if (!l.split.empty()) return l.split[static_cast<std::size_t>(chunk)];
  return default_chunk(in.model.layers(), l.pp * l.vpp, chunk);
}

// Layers of the stage that holds most. A V schedule folds the chunks back: stage s has s and last-s;
// dualpipe also holds both, one per direction, but a micro-batch passes only one of them.
inline std::int32_t widest_stage(In in) {
  const Layout& l = in.layout;
  std::int32_t widest = 0;
  for (std::int32_t stage = 0; stage < l.pp; ++stage) {
    std::int32_t layers = 0;
    for (std::int32_t v = 0; v < l.vpp; ++v) {
      const bool back = folds_v(l.schedule) && v == 1;
      layers += chunk_layers(in, back ? 2 * l.pp - 1 - stage : v * l.pp + stage);
    }
    widest = std::max(widest, layers);
  }
  return widest;
}

// A module that is recomputed as part of a larger one, or that the model does not have.
inline std::string_view idle_module(In in) {
  const Recompute& r = in.layout.recompute;
  const auto has = [&](Recompute::Module module) { return (r.modules & module) != 0; };
  if (r.full && r.modules != 0) return "modules beside full recomputation: full covers them";
  if (!r.full && r.full_layers != 0) return "recomputed layers without full recomputation";
  if (has(Recompute::moe_act) && in.moe == nullptr) return "recompute moe_act needs a model with experts";
  if (has(Recompute::mla_up) && !has_latent(in.model)) return "recompute mla_up needs latent attention";
  if (has(Recompute::core) && has(Recompute::attention)) return "recompute selective is part of attention";
  if (has(Recompute::mla_up) && has(Recompute::attention)) return "recompute mla_up is part of attention";
  if (has(Recompute::moe_act) && has(Recompute::mlp)) return "recompute moe_act is part of mlp";
  return {};
}

inline std::int64_t stage_ranks(const Layout& l) {
  return wide(l.dp) * l.cp * l.tp;
}
inline std::int64_t expert_ranks(const Layout& l) {
  return wide(l.ep) * l.etp;
}

inline bool pipe_inside_dp(const Layout& l) {
  return l.order == AxisOrder::tp_cp_ep_pp_dp;
}

inline bool expert_shard_straddles(In in) {
  const Layout& l = in.layout;
  if (!pipe_inside_dp(l) || in.moe == nullptr || l.hsdp == 0) return false;
  const std::int32_t inner = l.tp * l.cp / (l.ep * l.etp);
  const std::int32_t shard = l.expert_shard();
  return inner % shard != 0 && shard % inner != 0;
}

}  // namespace tw::rules
