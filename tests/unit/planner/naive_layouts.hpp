// A naive generator of legal layouts, written from the rules in words: it shares no code with
// legality.cpp or enumerate.cpp and loops over all values of every key.
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "planner/enumerate.hpp"

namespace tw::naive {

// The keys of a layout as plain numbers, for sorting.
using Flat = std::array<std::int16_t, 20>;

inline Flat flat(const Layout& l) {
  const auto n = [](auto value) { return static_cast<std::int16_t>(value); };
  return {n(l.dp),
          n(l.tp),
          n(l.pp),
          n(l.cp),
          n(l.ep),
          n(l.etp),
          n(l.vpp),
          n(l.sp),
          n(l.zero),
          n(l.hsdp),
          n(l.mb),
          n(l.recompute.full),
          n(l.recompute.full_layers),
          n(l.recompute.modules),
          n(l.schedule),
          n(l.cp_kind),
          n(l.dispatch),
          n(l.order),
          n(l.offload),
          n(l.precision)};
}

inline Model dense(std::int32_t heads, std::int32_t kv, std::int32_t hidden, std::int32_t ffn, int layers) {
  Model model;
  model.hidden = hidden;
  LayerKind kind;
  kind.attention = {.heads = heads, .kv_heads = kv, .head_dim = 8, .value_dim = 8};
  kind.mlp = Mlp{.ffn = ffn};
  for (int i = 0; i < layers; ++i) add_layer(model, kind);
  return model;
}

inline Model mixtral_like() {
  Model model;
  model.hidden = 64;
  LayerKind kind;
  kind.attention = {.heads = 8, .kv_heads = 2, .head_dim = 8, .value_dim = 8};
  kind.moe = Moe{.experts = 8, .top_k = 2, .ffn = 24};
  for (int i = 0; i < 6; ++i) add_layer(model, kind);
  return model;
}

// Latent attention, one dense layer, then experts with a shared one.
inline Model deepseek_like() {
  Model model;
  model.hidden = 48;
  LayerKind kind;
  kind.attention = {
      .kind = AttentionKind::latent, .heads = 12, .kv_heads = 12, .head_dim = 8, .value_dim = 8};
  kind.mlp = Mlp{.ffn = 72};
  add_layer(model, kind);
  kind.mlp.reset();
  kind.moe = Moe{.experts = 12, .top_k = 2, .ffn = 20, .shared_ffn = 36};
  for (int i = 0; i < 6; ++i) add_layer(model, kind);
  return model;
}

struct Shape {
  const char* name;
  Model model;
  int heads, kv, hidden, ffn, shared, experts, expert_ffn, layers;  // 0: absent; kv 0: latent
};

inline std::vector<Shape> shapes() {
  return {{"dense GQA", dense(8, 2, 64, 96, 8), 8, 2, 64, 96, 0, 0, 0, 8},
          {"dense MHA, odd sizes", dense(6, 6, 36, 30, 5), 6, 6, 36, 30, 0, 0, 0, 5},
          {"mixtral-like", mixtral_like(), 8, 2, 64, 0, 0, 8, 24, 6},
          {"deepseek-like", deepseek_like(), 12, 0, 48, 72, 36, 12, 20, 7}};
}

enum { kRing, kZigzag, kA2a };
enum { kGpipe, k1f1b, kInterleaved, kZbH1, kZbV, kDualpipe, kDualpipeV };

struct Naive {
  const Shape& shape;
  const SearchSpace& space;
  int gpus, batch, seq;
  std::vector<Flat> found = {};
  int dp = 1, tp = 1, pp = 1, cp = 1, ep = 1, etp = 1, vpp = 1, sp = 0, zero = 0, hsdp = 0, mb = 1;
  int schedule = 1, kind = kZigzag, dispatch = 0, order = 0, offload = 0;
  Recompute recompute = {};

  // Heads, hidden, ffn and sequence come out whole on each rank.
  bool shapes_fit() const {
    if (shape.heads % tp || shape.hidden % tp || shape.ffn % tp || shape.shared % tp) return false;
    if (shape.kv > tp ? shape.kv % tp != 0 : shape.kv && tp % shape.kv != 0) return false;
    const int pieces = sp ? tp * cp : cp;
    if (seq % pieces) return false;
    return !(sp && tp == 1);
  }

  bool experts_fit() const {
    if (!shape.experts) return ep == 1 && etp == 1;
    if (shape.experts % ep || shape.expert_ffn % etp) return false;
    return dp * cp * tp / (ep * etp) * (ep * etp) == dp * cp * tp;
  }

  bool context_fits() const {
    if (cp == 1) return kind == kZigzag;
    if (kind == kZigzag) return seq % (2 * cp) == 0;
    if (kind == kRing) return true;
    const int kv_here = shape.kv == 0 ? shape.heads / tp : shape.kv < tp ? 1 : shape.kv / tp;
    return (shape.heads / tp) % cp == 0 && kv_here % cp == 0;
  }

  bool states_fit() const {
    const int copies = shape.experts ? dp * cp * tp / (ep * etp) : 1;
    if (zero && dp * cp == 1 && copies == 1) return false;
    if (!hsdp) return true;
    if (!zero || hsdp < 2 || hsdp >= dp || dp % hsdp) return false;
    return !shape.experts || hsdp >= copies || copies % hsdp == 0;
  }

  bool schedule_fits() const {
    const int steps = batch / dp / mb, chunks = pp * vpp;
    if (chunks > shape.layers) return false;
    if (pp == 1) return schedule == k1f1b && vpp == 1;
    const bool even =
        shape.layers % chunks == 0 || (shape.layers + 1) % chunks == 0 || (shape.layers + 2) % chunks == 0;
    if (vpp > 1 && !even) return false;
    switch (schedule) {
      case kInterleaved:
        return vpp > 1 && steps % pp == 0;
      case kZbV:
        return vpp == 2 && steps >= 2 * pp;
      case kDualpipe:
        return vpp == 1 && pp % 2 == 0 && steps % 2 == 0 && steps >= 2 * pp;
      case kDualpipeV:
        return vpp == 2 && steps >= 2 * pp;
      default:
        return vpp == 1;
    }
  }

  bool order_fits() const {
    if (order == 0) return true;
    if (pp == 1 || dp == 1) return false;
    if (!shape.experts) return true;
    if (tp * cp % (ep * etp)) return false;  // experts of a copy stay in one piece of tp*cp
    const int piece = tp * cp / (ep * etp), copies = piece * dp, shard = std::min(hsdp, copies);
    return !hsdp || piece % shard == 0 || shard % piece == 0;
  }

  // Layers of each chunk, one by one: the rest after equal shares goes to the middle chunks.
  std::vector<int> chunk_sizes() const {
    const int chunks = pp * vpp, layers = shape.layers;
    std::vector<int> sizes(static_cast<std::size_t>(chunks), layers / chunks);
    if (layers % chunks == 0) return sizes;
    if ((layers + 2) % chunks == 0 || (layers + 1) % chunks == 0) {
      const bool both = (layers + 2) % chunks == 0;
      sizes.assign(sizes.size(), (layers + (both ? 2 : 1)) / chunks);
      --sizes.back();
      if (both) --sizes.front();
      return sizes;
    }
    sizes.assign(sizes.size(), layers / chunks + 1);
    std::size_t low = 0, high = sizes.size() - 1;
    for (int less = chunks - layers % chunks; less > 0; --less) {
      if ((chunks - layers % chunks - less) % 2 == 0)
        --sizes[high--];
      else
        --sizes[low++];
    }
    return sizes;
  }

  bool recompute_fits() const {
    const int m = recompute.modules;
    if (m & Recompute::moe_act && (!shape.experts || m & Recompute::mlp)) return false;
    if (m & Recompute::mla_up && (shape.kv || m & Recompute::attention)) return false;
    if (m & Recompute::core && m & Recompute::attention) return false;
    if (!recompute.full_layers) return true;
    std::vector<int> stage(static_cast<std::size_t>(pp), 0);
    const std::vector<int> sizes = chunk_sizes();
    for (int chunk = 0; chunk < pp * vpp; ++chunk) {
      const bool back = (schedule == kZbV || schedule == kDualpipeV) && chunk >= pp;
      stage[static_cast<std::size_t>(back ? 2 * pp - 1 - chunk : chunk % pp)] +=
          sizes[static_cast<std::size_t>(chunk)];
    }
    return recompute.full_layers < *std::max_element(stage.begin(), stage.end());
  }

  void keep() {
    Layout l{.dp = dp,
             .tp = tp,
             .pp = pp,
             .cp = cp,
             .ep = ep,
             .etp = etp,
             .vpp = vpp,
             .sp = sp == 1,
             .zero = zero,
             .hsdp = hsdp,
             .mb = mb,
             .recompute = recompute,
             .schedule = static_cast<std::uint8_t>(schedule),
             .cp_kind = static_cast<CpKind>(kind),
             .dispatch = static_cast<Dispatch>(dispatch),
             .order = static_cast<AxisOrder>(order),
             .offload = static_cast<Offload>(offload),
             .split = {}};
    found.push_back(flat(l));
  }

  void pipes() {
    for (schedule = 0; schedule < 7; ++schedule) {
      if (!(space.schedules >> schedule & 1)) continue;
      for (vpp = 1; vpp <= (space.vpp ? shape.layers : 1); ++vpp) {
        if (!schedule_fits()) continue;
        for (order = 0; order < 2; ++order) {
          if (!(space.orders >> order & 1) || !order_fits()) continue;
          for (const Recompute& each : space.recomputes) {
            recompute = each;
            if (recompute_fits()) keep();
          }
        }
      }
    }
  }

  void states() {
    for (mb = 1; mb <= std::min(batch, space.max_mb); ++mb) {
      if (batch % (dp * mb)) continue;
      for (zero = 0; zero < 4; ++zero) {
        if (!(space.zeros >> zero & 1)) continue;
        for (hsdp = 0; hsdp <= (space.hsdp ? dp : 0); ++hsdp) {
          if (!states_fit()) continue;
          for (offload = 0; offload < 2; ++offload) {
            if (space.offloads >> offload & 1) pipes();
          }
        }
      }
    }
  }

  void options() {
    for (sp = 0; sp < 2; ++sp) {
      if (!shapes_fit()) continue;
      for (kind = 0; kind < 3; ++kind) {
        if (!(space.cp_kinds >> kind & 1) || !context_fits()) continue;
        for (dispatch = 0; dispatch < 4; ++dispatch) {
          if ((space.dispatches >> dispatch & 1) && (dispatch == 0 || ep > 1)) states();
        }
      }
    }
  }

  void run() {
    for (dp = 1; dp <= gpus; ++dp)
      for (tp = 1; tp <= gpus; ++tp)
        for (pp = 1; pp <= gpus; ++pp)
          for (cp = 1; cp <= gpus; ++cp) {
            if (dp * tp * pp * cp != gpus) continue;
            for (ep = 1; ep <= gpus; ++ep)
              for (etp = 1; etp <= gpus; ++etp) {
                if (experts_fit()) options();
              }
          }
  }
};

}  // namespace tw::naive
