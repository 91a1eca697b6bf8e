// Sizes of every parallel dimension and their legality, which is across dimensions. The keys and
// their meaning are the contract of the command line (see --help of predict).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "costmodel/model.hpp"
#include "costmodel/training.hpp"

namespace tw {

// What is recomputed in the backward. Modules are bits of one mask; selective = attention core.
struct Recompute {
  enum Module : std::uint8_t { core = 1, attention = 2, mlp = 4, norm = 8, moe_act = 16, mla_up = 32 };
  bool full = false;
  std::int32_t full_layers = 0;  // full: layers per stage, 0 = all
  std::uint8_t modules = 0;      // when not full
  friend bool operator==(const Recompute&, const Recompute&) = default;
};

enum class CpKind : std::uint8_t { ring, zigzag, a2a };
enum class Dispatch : std::uint8_t { direct, two_level, rail, dedup };
enum class Offload : std::uint8_t { none, optimizer };
enum class Precision : std::uint8_t { bf16, fp8_delayed, fp8_current, fp8_row, fp8_block, mxfp8, nvfp4 };
// The innermost-first order of the dimensions on the ranks of a node-contiguous machine.
enum class AxisOrder : std::uint8_t { tp_cp_ep_dp_pp, tp_cp_ep_pp_dp };

struct Layout {
  std::int32_t dp = 1, tp = 1, pp = 1, cp = 1, ep = 1, etp = 1, vpp = 1;
  bool sp = false;
  std::int32_t zero = 0;  // 0 replicated, 1 optimizer, 2 + gradients, 3 + parameters
  std::int32_t hsdp = 0;  // shard-group size in dp ranks, 0 = all of dp
  std::int32_t mb = 1;    // sequences per micro-batch
  Recompute recompute = {};
  std::uint8_t schedule = 1;  // 1f1b; index into schedule_names()
  CpKind cp_kind = CpKind::zigzag;
  Dispatch dispatch = Dispatch::direct;
  AxisOrder order = AxisOrder::tp_cp_ep_dp_pp;
  Offload offload = Offload::none;
  Precision precision = Precision::bf16;
  std::vector<std::int32_t> split = {};  // layers per chunk in model order; empty: default_split

  std::int32_t gpus() const { return dp * tp * pp * cp; }
  // Ranks among which one expert's weights are replicated: dp*cp*tp/(ep*etp).
  std::int32_t edp() const { return dp * cp * tp / (ep * etp); }
  // Ranks of dp that share one copy of dense states under zero >= 1.
  std::int32_t shard() const { return hsdp == 0 ? dp : hsdp; }
  // The same for one expert's states, within edp.
  std::int32_t expert_shard() const { return hsdp == 0 || hsdp > edp() ? edp() : hsdp; }
  friend bool operator==(const Layout&, const Layout&) = default;
};

// Names of schedules in index order (the index a Layout stores): gpipe, 1f1b, interleaved, zb-h1,
// zb-v, dualpipe, dualpipe-v. kSchedule1F1B etc. name the ones that code refers to.
std::span<const std::string_view> schedule_names();
inline constexpr std::uint8_t kScheduleGpipe = 0, kSchedule1F1B = 1, kScheduleInterleaved = 2,
                              kScheduleZbH1 = 3, kScheduleZbV = 4, kScheduleDualpipe = 5,
                              kScheduleDualpipeV = 6;
inline constexpr int kSchedules = 7;
inline constexpr std::int32_t kLayoutLimit = 1 << 20;  // of every size, and of the GPUs

// The keys of a layout, in contract order.
enum class LayoutKey : std::uint8_t {
  dp,
  tp,
  pp,
  cp,
  ep,
  etp,
  vpp,
  sp,
  zero,
  hsdp,
  mb,
  recompute,
  schedule,
  cp_kind,
  a2a,
  order,
  split,
  offload,
  precision
};
// Some keys of a layout (--fix): `value` holds them, `given` has 1 << LayoutKey for each.
struct LayoutKeys {
  Layout value;
  std::uint32_t given = 0;
  bool has(LayoutKey key) const { return (given >> static_cast<int>(key) & 1u) != 0; }
};

std::string to_string(const Recompute& recompute);
// Canonical text: keys in contract order, optional ones only when not default. parse(print(x)) = x.
std::string to_string(const Layout& layout);
// `gpus` fills dp when it is left out (0: dp must be given). Bad text throws InputError.
Layout parse_layout(std::string_view text, std::int32_t gpus);
// Keys left out have their defaults, except dp where gpus is 0.
LayoutKeys parse_layout_keys(std::string_view text, std::string_view option);  // InputError at `option`
Recompute parse_recompute(std::string_view text);                              // InputError
Precision parse_precision(std::string_view text);                              // InputError
std::string_view name_of(Precision precision);

// What a layout must divide.
struct Job {
  const Model* model = nullptr;
  std::int64_t global_batch = 0;  // sequences per step
  std::int32_t seq = 0;           // tokens per sequence
  std::int32_t gpus = 0;
  Training training = {};
};

// Chunks of layers in model order (size pp*vpp). Even where pp*vpp divides the layers. Otherwise
// embedding and head count as one layer each where layers+2 (or +1, head only) divides; otherwise
// as even as possible with the smaller chunks at the ends, last first.
std::vector<std::int32_t> default_split(std::int32_t layers, std::int32_t chunks);
// One entry of it, without the vector.
std::int32_t default_chunk(std::int32_t layers, std::int32_t chunks, std::int32_t index);

// Empty when legal; else the first broken rule, in words, e.g.
// "heads 32 not divisible by tp 5". The rules are the table of legality.cpp, each with its reason.
std::string illegal_because(const Layout& layout, const Job& job);

// Micro-batches per step and data-parallel rank.
std::int64_t microbatches(const Layout& layout, const Job& job);

}  // namespace tw
