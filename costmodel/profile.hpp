// What a training framework does differently, as data (scenarios/frameworks/NAME.json): mechanisms,
// each with its source, and the options it can run. An input of emission from the start.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "costmodel/calibration.hpp"
#include "costmodel/layout/layout.hpp"
#include "topology/described.hpp"

namespace tw {

constexpr auto enum_names(const AttentionKernel*) {
  return std::array<std::pair<AttentionKernel, std::string_view>, 5>{{{AttentionKernel::unfused, "unfused"},
                                                                      {AttentionKernel::flash1, "flash1"},
                                                                      {AttentionKernel::flash2, "flash2"},
                                                                      {AttentionKernel::flash3, "flash3"},
                                                                      {AttentionKernel::cudnn, "cudnn"}}};
}
constexpr auto enum_names(const DType*) {
  std::array<std::pair<DType, std::string_view>, std::size(kDTypes)> names{};
  for (std::size_t i = 0; i < std::size(kDTypes); ++i) names[i] = {kDTypes[i].dtype, kDTypes[i].name};
  return names;
}

// How kernels are put together: passes over memory beyond one read and one write per operator.
struct KernelMechanisms {
  AttentionKernel attention = AttentionKernel::cudnn;
  bool fused_activation = true;  // SwiGLU / GELU in one kernel; else one kernel per operator
  bool fused_norm = true;
  bool fused_rope = true;
  bool fused_loss = true;        // cross-entropy without an fp32 copy of the logits
  bool grouped_gemm = true;      // experts in one kernel; else one GEMM after another
  bool expanded_kv = false;      // K and V repeated to all heads before attention
  double unfused_pair_bytes = 0; // kept per (query, key) pair and head where attention is unfused
  bool regather_input = true;    // sequence-parallel inputs kept cut and gathered again in the backward
  bool tp_overlap = false;       // tensor-parallel collectives cut up and run under their GEMM
};
TW_DESCRIBE(KernelMechanisms, attention, fused_activation, fused_norm, fused_rope, fused_loss, grouped_gemm,
            expanded_kv, unfused_pair_bytes, regather_input, tp_overlap);

struct StateMechanisms {
  DType gradient = DType::fp32;      // kept and accumulated in
  DType reduce = DType::fp32;        // on the wire
  DType gather = DType::bf16;        // parameters on the wire
  DType master = DType::fp32;
  DType moments = DType::fp32;
  bool low_precision_copy = true;    // a bf16 copy of the parameters besides the master
  bool fused_wgrad = true;           // wgrad accumulates straight into the gradient buffer
  bool overlap_reduce = true;
  bool overlap_gather = true;
  bool reduce_every_microbatch = false;  // ZeRO-2/3 without no-sync; always true for ZeRO-3 reductions
  double gathered_layers = 2;        // ZeRO-3: layers whose parameters are whole at once
};
TW_DESCRIBE(StateMechanisms, gradient, reduce, gather, master, moments, low_precision_copy, fused_wgrad, overlap_reduce,
            overlap_gather, reduce_every_microbatch, gathered_layers);

struct HostMechanisms {
  Seconds per_kernel;            // host time to issue one kernel through the framework
  bool graphs = false;           // CUDA graphs: one launch per layer
  std::int32_t sync_per_moe_layer = 0;  // forward, dropless dispatch reading counts
  std::int32_t sync_per_step = 0;
  Seconds per_step;              // host work between steps: data loader, logging, scheduler
};
TW_DESCRIBE(HostMechanisms, per_kernel, graphs, sync_per_moe_layer, sync_per_step, per_step);

struct MemoryMechanisms {
  double allocator_slack = 0;    // of activations and temporaries: fragmentation of a caching allocator
  Bytes workspace;               // GEMM and library workspaces
  double logit_copies = 0;       // fp32-sized copies of the local logits alive at the loss
};
TW_DESCRIBE(MemoryMechanisms, allocator_slack, workspace, logit_copies);

struct Abilities {
  std::vector<std::string> schedules;
  std::vector<std::int32_t> zero;
  std::vector<std::string> recompute;  // options worth searching
  bool hsdp = false;
  bool sp_required_with_moe = false;
  bool zero3_with_pp = false;
  bool cp = true, ep = true, etp = true, pp = true, tp = true;
};
TW_DESCRIBE(Abilities, schedules, zero, recompute, hsdp, sp_required_with_moe, zero3_with_pp, cp, ep, etp, pp, tp);

struct Profile {
  std::string title;
  KernelMechanisms kernels;
  StateMechanisms state;
  HostMechanisms host;
  MemoryMechanisms memory;
  Abilities can;
  double gpu_speed_spread = 0;  // relative standard deviation of the speed of GPUs of one kind
  double spread = 0;            // relative standard deviation of a step beyond the curves' own
  std::vector<std::string> sources;
  std::string name;  // filled by load_profile
};
TW_DESCRIBE(Profile, title, kernels, state, host, memory, can, gpu_speed_spread, spread, sources);

Profile load_profile(std::string_view name_or_path);

}  // namespace tw
