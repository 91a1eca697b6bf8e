// What a training framework does differently, as data (scenarios/frameworks/NAME.json): mechanisms,
// each with its source, and the options it can run. An input of emission from the start.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "costmodel/calibration.hpp"
#include "costmodel/layout/layout.hpp"
#include "costmodel/loss_kernels.hpp"
#include "topology/described.hpp"

namespace tw {

constexpr auto enum_names(const AttentionKernel*) {
  return std::array<std::pair<AttentionKernel, std::string_view>, 5>{{{AttentionKernel::unfused, "unfused"},
                                                                      {AttentionKernel::flash1, "flash1"},
                                                                      {AttentionKernel::flash2, "flash2"},
                                                                      {AttentionKernel::flash3, "flash3"},
                                                                      {AttentionKernel::cudnn, "cudnn"}}};
}
constexpr auto enum_names(const GemmLibrary*) {
  return std::array<std::pair<GemmLibrary, std::string_view>, 2>{
      {{GemmLibrary::current, "current"}, {GemmLibrary::early, "early"}}};
}
constexpr auto enum_names(const DType*) {
  std::array<std::pair<DType, std::string_view>, std::size(kDTypes)> names{};
  for (std::size_t i = 0; i < std::size(kDTypes); ++i) names[i] = {kDTypes[i].dtype, kDTypes[i].name};
  return names;
}

// Routed rows that are padded to a capacity and put in order by plain operators: time in passes, of one
// read or one write of all rows.
struct PaddedPermutation {
  double permute_forward = 0, permute_backward = 0, unpermute_forward = 0, unpermute_backward = 0;
};
TW_DESCRIBE(PaddedPermutation, permute_forward, permute_backward, unpermute_forward, unpermute_backward);

// How kernels are put together: passes over memory beyond one read and one write per operator.
struct KernelMechanisms {
  AttentionKernel attention = AttentionKernel::cudnn;
  Defaulted<GemmLibrary> gemm_library{GemmLibrary::current};
  bool fused_activation = true;  // SwiGLU / GELU in one kernel; else one kernel per operator
  bool fused_norm = true;
  bool fused_rope = true;
  bool fused_add_norm = false;      // a residual addition and the norm after it in one kernel, both ways
  bool fused_bias_gradient = true;  // summed in the GEMM's epilogue; else one more read of the gradient
  bool merged_projections = true;   // q, k, v in one GEMM, gate and up in one; else one each
  bool dropout = false;             // on both outputs of a layer, as in GPT: masks of one byte an element
  bool fused_loss = true;           // cross-entropy without an fp32 copy of the logits
  double loss_forward_passes = 7, loss_backward_passes = 7;  // over bf16 logits, where it is not fused
  std::int32_t vocab_multiple = 1;  // the vocabulary of one rank of tp is padded to a multiple of it
  bool grouped_gemm = true;         // experts in one kernel; else one GEMM after another
  Defaulted<bool> expert_launches;  // that kernel stands for a product, and its casts, of each local expert
  Defaulted<double>
      head_exchange_passes;          // over what context parallelism by heads exchanges: to put it in order
  Defaulted<bool> dispatch_overlap;  // experts' exchanges run under the compute of another micro-batch
  bool expanded_kv = false;          // K and V repeated to all heads before attention
  double unfused_pair_bytes = 0;     // kept per (query, key) pair and head where attention is unfused
  bool regather_input = true;        // sequence-parallel inputs kept cut and gathered again in the backward
  bool selective_by_operator =
      false;                   // `selective` saves attention and every other GEMM, not all but the core
  Defaulted<bool> early_stop;  // a replayed layer ends at the last tensor that its backward reads
  bool overlap_wgrad = true;   // the collective on an input gradient runs under the weight gradient
  bool tp_overlap = false;     // tensor-parallel collectives cut up and run under their GEMM
  // Gate and up are modules of their own: a GEMM each and, without sequence parallelism, an all-reduce
  // each of their input's gradient.
  Defaulted<bool> gate_apart;
  Defaulted<bool> wide_sums;        // activations are summed between ranks in fp32, as they travel
  Defaulted<bool> gathered_logits;  // the LM head gathers its output: every rank of tp has the whole loss
  Defaulted<bool> low_precision_inputs{true};  // quantised GEMM inputs are kept, not their bf16 originals
  std::optional<PaddedPermutation> padded_permutation;  // absent: fused as without a capacity
  Defaulted<LossKernel> loss{LossKernel::whole};
  Defaulted<std::int32_t> loss_rows{4096};    // of a chunk, where it has rows
  Defaulted<bool> fused_adapter{false};       // scaling, cast and sum of an adapter's output in one kernel
  Defaulted<bool> replicated_experts{false};  // ranks of ep hold the same tokens: sums replace the dispatch
  Defaulted<bool> emulated{false};            // low precision is only simulated: operands cast there and back
  Defaulted<double> cast_bytes{0};            // of one low-precision cast, per element; 0: the recipe's own
  Defaulted<bool> cast_weights{false};        // weights are cast for every GEMM, not once a step
  // torch.compile of each layer: projections of one input share its cast; what no backward reads is not kept.
  Defaulted<bool> compiled{false};
};
TW_DESCRIBE(KernelMechanisms, attention, gemm_library, fused_activation, fused_norm, fused_rope,
            fused_add_norm, fused_bias_gradient, merged_projections, dropout, fused_loss, loss_forward_passes,
            loss_backward_passes, vocab_multiple, grouped_gemm, expert_launches, head_exchange_passes,
            dispatch_overlap, expanded_kv, unfused_pair_bytes, regather_input, selective_by_operator,
            early_stop, overlap_wgrad, tp_overlap, gate_apart, wide_sums, gathered_logits,
            low_precision_inputs, padded_permutation, loss, loss_rows, fused_adapter, replicated_experts,
            emulated, cast_bytes, cast_weights, compiled);

// Where the exchange between pipeline stages runs under compute.
enum class SendOverlap : std::uint8_t { never, interleaved, always };
constexpr auto enum_names(const SendOverlap*) {
  return std::array<std::pair<SendOverlap, std::string_view>, 3>{{{SendOverlap::never, "never"},
                                                                  {SendOverlap::interleaved, "interleaved"},
                                                                  {SendOverlap::always, "always"}}};
}

// What FSDP does with gradients before they are reduced, each micro-batch.
enum class GradientCopies : std::uint8_t {
  none,
  joined,  // FSDP2: read, written into one buffer of the reduce type
  flat     // FSDP1: joined as they are, cast where the reduce type is wider, divided before the sum
};
constexpr auto enum_names(const GradientCopies*) {
  return std::array<std::pair<GradientCopies, std::string_view>, 3>{
      {{GradientCopies::none, "none"}, {GradientCopies::joined, "joined"}, {GradientCopies::flat, "flat"}}};
}

struct StateMechanisms {
  DType gradient = DType::fp32;  // kept and accumulated in
  DType reduce = DType::fp32;    // on the wire
  DType gather = DType::bf16;    // parameters on the wire
  DType master = DType::fp32;
  DType moments = DType::fp32;
  bool low_precision_copy = true;   // a bf16 copy of the parameters besides the master
  Defaulted<bool> autocast{false};  // fp32 parameters are cast by every operator that reads them
  Defaulted<bool> on_host{
      false};                    // parameters of ZeRO-3 wait in host memory and are copied in for each gather
  bool fused_wgrad = true;       // wgrad adds straight into the gradient buffer; else a pass of its own
  double gather_copy_bytes = 0;  // per parameter gathered for a micro-batch: copies out of the flat buffer
  double reduce_copy_bytes = 0;  // per gradient reduced in a micro-batch: copies into buffers
  Defaulted<GradientCopies> gradient_copies{GradientCopies::none};  // as FSDP makes them
  Defaulted<std::int64_t> gradient_bucket;  // elements that are reduced together, ZeRO-2/3; 0: a whole layer
  std::int32_t gather_calls = 1;  // collectives per layer that gather parameters: one for each tensor, or one
  // Host operations per rank of a gather and of a reduction, where a collective takes a list of one
  // tensor per rank.
  Defaulted<double> gather_rank_ops, reduce_rank_ops;
  Defaulted<double> regathered;  // part of a layer gathered twice in a backward that recomputes it
  bool overlap_reduce = true;
  bool overlap_gather = true;
  bool reduce_every_microbatch = false;   // ZeRO-2/3 without no-sync; always true for ZeRO-3 reductions
  double gathered_layers = 2;             // ZeRO-3: layers whose parameters are whole at once
  Defaulted<bool> whole_under_pp{false};  // ZeRO-3 with stages: gathered once a step, gradients whole
  Defaulted<bool> fused_optimizer{true};  // one kernel reads and writes all states; else one per operator
  SendOverlap overlap_send = SendOverlap::always;  // else a stage stands still while it sends and receives
  Defaulted<bool> sends_whole;    // without sequence parallelism, each rank of tp sends all of the residual
  Defaulted<bool> sends_in_turn;  // a stage between two others receives and sends one after the other
  Defaulted<bool>
      boundary_communicators;  // one for each boundary of a stage's chunks and direction, for its sends
};
TW_DESCRIBE(StateMechanisms, gradient, reduce, gather, master, moments, low_precision_copy, autocast, on_host,
            fused_wgrad, gather_copy_bytes, reduce_copy_bytes, gradient_copies, gradient_bucket, gather_calls,
            gather_rank_ops, reduce_rank_ops, regathered, overlap_reduce, overlap_gather,
            reduce_every_microbatch, gathered_layers, whole_under_pp, fused_optimizer, overlap_send,
            sends_whole, sends_in_turn, boundary_communicators);

struct HostMechanisms {
  Seconds per_kernel;                // host time to issue one kernel through the framework
  Defaulted<Seconds> per_operation;  // more for an operation, however many kernels it is
  Seconds per_linear;  // more for each direction of a linear module: its own code around the kernels
  Defaulted<Seconds>
      per_routing;  // more for a routed layer: router, dispatch and combine code, twice in the backward
  Defaulted<Seconds> per_checkpoint;           // more for each activation checkpoint that a backward replays
  bool graphs = false;                         // CUDA graphs: one launch per layer
  Defaulted<bool> one_stream;                  // collectives run where compute runs: nothing overlaps
  std::int32_t sync_per_moe_layer = 0;         // forward, dropless dispatch reading counts
  Defaulted<std::int32_t> sync_per_expert{0};  // forward, a loop over local experts asking for their tokens
  std::int32_t sync_per_microbatch = 0;        // where the loss is: read back to check or to log it
  std::int32_t sync_per_send = 0;  // after an exchange with a neighbouring stage that is not overlapped
  std::int32_t sync_per_step = 0;
  Seconds per_step;  // host work between steps: data loader, logging, scheduler
};
TW_DESCRIBE(HostMechanisms, per_kernel, per_operation, per_linear, per_routing, per_checkpoint, graphs,
            one_stream, sync_per_moe_layer, sync_per_expert, sync_per_microbatch, sync_per_send,
            sync_per_step, per_step);

struct MemoryMechanisms {
  double allocator_slack = 0;  // of activations and temporaries: fragmentation of a caching allocator
  Bytes workspace;             // GEMM and library workspaces
  double logit_copies = 0;     // fp32-sized copies of the local logits alive at the loss
  // A stage has receive buffers for the inputs and output gradients of every micro-batch of a step and keeps
  // its outputs: until their backward, the last stage's until the end of the step.
  Defaulted<bool> stage_buffers{false};
  Defaulted<bool> loss_apart{false};  // the loss finds no room where a layer's temporaries lay
};
TW_DESCRIBE(MemoryMechanisms, allocator_slack, workspace, logit_copies, stage_buffers, loss_apart);

struct Abilities {
  std::vector<std::string> schedules;
  std::vector<std::int32_t> zero;
  std::vector<std::string> recompute;  // options worth searching
  bool hsdp = false;
  bool sp = true;
  bool sp_required_with_moe = false;
  bool zero3_with_pp = false;
  bool cp = true, ep = true, etp = true, pp = true, tp = true;
  // Modules before and after the layers in the list that is cut into equal stages; none: layers alone.
  Defaulted<std::vector<std::int32_t>> stage_ends;
  // What a run that says no more has: stages of a device under a schedule with several, and micro-batches of
  // a step for each stage; 0: its users choose.
  Defaulted<std::int32_t> usual_chunks{0}, microbatches_per_stage{0};
};
TW_DESCRIBE(Abilities, schedules, zero, recompute, hsdp, sp, sp_required_with_moe, zero3_with_pp, cp, ep, etp,
            pp, tp, stage_ends, usual_chunks, microbatches_per_stage);

struct Profile {
  std::string title;
  KernelMechanisms kernels;
  StateMechanisms state;
  std::optional<StateMechanisms> replicated_state;  // under zero 0, where it differs
  HostMechanisms host;
  MemoryMechanisms memory;
  Abilities can;
  double gpu_speed_spread = 0;      // relative standard deviation of the speed of GPUs of one kind
  double spread = 0;                // relative standard deviation of a step beyond the curves' own
  std::vector<std::string> source;  // one line per mechanism or group of them, then those of the base
  Defaulted<std::string> base;      // another profile, which holds what this one does not say
  std::string name;                 // filled by load_profile
};
TW_DESCRIBE(Profile, title, kernels, state, replicated_state, host, memory, can, gpu_speed_spread, spread,
            source, base);

const StateMechanisms& state_of(const Profile& profile, std::int32_t zero);
Profile load_profile(std::string_view name_or_path);
Profile profile_of(const JsonView& file);  // parsed already

}  // namespace tw
