#include <fmt/format.h>

#include <algorithm>

#include "planner/preflight/megatron_words.hpp"
#include "topology/check.hpp"

namespace tw::preflight {
namespace {

constexpr std::string_view kTarget = "Megatron-Core";

[[noreturn]] void refuse(std::string_view what, const std::string& why) {
  cannot_say(kTarget, what, why);
}

std::string text(std::int64_t value) {
  return std::to_string(value);
}

// All layers have the same mixer but for the window, the same MLP, and the same experts.
void check_one_kind(const Model& model) {
  Attention first = model.layer(0).attention;
  first.window = 0;
  const Mlp* mlp = nullptr;
  const Moe* moe = nullptr;
  for (const LayerKind& kind : model.kinds) {
    Attention own = kind.attention;
    own.window = 0;
    if (kind.mamba) refuse("model", "Mamba layers start from pretrain_mamba.py, which is not written");
    if (!kind.mlp && !kind.moe) refuse("model", "a layer without a feed-forward");
    if (!(own == first)) refuse("model", "layers whose attention differs");
    if (kind.mlp && mlp && !(*mlp == *kind.mlp)) refuse("model", "dense layers that differ");
    if (kind.moe && moe && !(*moe == *kind.moe)) refuse("model", "routed layers that differ");
    if (kind.mlp) mlp = &*kind.mlp;
    if (kind.moe) moe = &*kind.moe;
  }
}

void add_attention(const Model& model, Settings& out) {
  const Attention& a = model.layer(0).attention;
  out["num_attention_heads"] = text(a.heads);
  if (a.kind == AttentionKind::latent) {
    out["multi_latent_attention"] = "true";
    if (a.q_rank > 0) out["q_lora_rank"] = text(a.q_rank);
    out["kv_lora_rank"] = text(a.kv_rank);
    out["qk_head_dim"] = text(a.head_dim - a.rope_dim);
    out["qk_pos_emb_head_dim"] = text(a.rope_dim);
    out["v_head_dim"] = text(a.value_dim);
  } else {
    if (a.kv_heads != a.heads)
      out["group_query_attention"] = "true", out["num_query_groups"] = text(a.kv_heads);
    out["kv_channels"] = text(a.head_dim);
  }
  if (a.qk_norm == QkNorm::head) out["qk_layernorm"] = "true";
  if (a.qk_norm == QkNorm::full) refuse("model", "norms over all heads of q and k together");
  if (a.sinks) out["softmax_type"] = "learnable";
}

// One switch for all biases, and one for those of q, k and v alone.
void add_biases(const Model& model, Settings& out) {
  const Attention& a = model.layer(0).attention;
  bool feed = a.out_bias;
  for (const LayerKind& kind : model.kinds) {
    const bool own = kind.mlp ? kind.mlp->bias : kind.moe->bias;
    if (own != feed) refuse("model", "biases in the attention's output or in the feed-forward alone");
    feed = own;
  }
  if (a.out_bias && !a.qkv_bias) refuse("model", "a bias in the attention's output alone");
  if (!feed) out["add_bias_linear"] = "false";
  if (!feed && a.qkv_bias) out["add_qkv_bias"] = "true";
}

void add_moe(const Model& model, Settings& out) {
  const Moe* moe = model.moe();
  if (moe == nullptr) return;
  out["num_experts"] = text(moe->experts), out["moe_router_topk"] = text(moe->top_k);
  out["moe_ffn_hidden_size"] = text(moe->ffn);
  if (moe->shared_ffn > 0) out["moe_shared_expert_intermediate_size"] = text(moe->shared_ffn);
  if (moe->shared_gate) out["moe_shared_expert_gate"] = "true";
  if (moe->groups != 1 || moe->group_limit != 1) {
    out["moe_router_num_groups"] = text(moe->groups), out["moe_router_group_topk"] = text(moe->group_limit);
  }
  if (moe->router_bias) out["moe_router_enable_expert_bias"] = "true";
  std::vector<int> sparse;
  for (std::int32_t i = 0; i < model.layers(); ++i) sparse.push_back(model.layer(i).moe ? 1 : 0);
  if (std::find(sparse.begin(), sparse.end(), 0) != sparse.end())
    out["moe_layer_freq"] = pattern_text(sparse);
}

void add_windows(const Model& model, Settings& out) {
  std::int32_t window = 0;
  std::vector<int> sliding;
  for (std::int32_t i = 0; i < model.layers(); ++i) {
    const std::int32_t own = model.layer(i).attention.window;
    if (own > 0 && window > 0 && own != window) refuse("model", "windows that differ");
    window = std::max(window, own);
    sliding.push_back(own > 0 ? 1 : 0);
  }
  if (window == 0) return;
  out["window_size"] = fmt::format("{},0", window);
  if (std::find(sliding.begin(), sliding.end(), 0) != sliding.end())
    out["window_attn_skip_freq"] = pattern_text(sliding);
}

// The gate is one switch for dense and routed layers; so is the activation's.
void add_feed_forward(const Model& model, Settings& out) {
  const Mlp* mlp = nullptr;
  for (const LayerKind& kind : model.kinds) {
    if (kind.mlp) mlp = &*kind.mlp;
  }
  const Moe* moe = model.moe();
  const bool gated = mlp != nullptr ? mlp->gated : moe->gated;
  if (moe != nullptr && moe->gated != gated) refuse("model", "a gate in dense or routed layers alone");
  if (gated) out["swiglu"] = "true";
  out["ffn_hidden_size"] = text(mlp != nullptr ? mlp->ffn : moe->ffn);
}

std::string recompute_modules(const Recompute& r) {
  if ((r.modules & Recompute::attention) != 0)
    refuse("recompute", "attention as a whole is no module of --recompute-modules");
  constexpr std::pair<Recompute::Module, std::string_view> kNames[] = {{Recompute::core, "core_attn"},
                                                                       {Recompute::mlp, "mlp"},
                                                                       {Recompute::norm, "layernorm"},
                                                                       {Recompute::moe_act, "moe_act"},
                                                                       {Recompute::mla_up, "mla_up_proj"}};
  std::string out;
  for (const auto& [module, name] : kNames) {
    if ((r.modules & module) != 0) out += (out.empty() ? "" : " ") + std::string(name);
  }
  return out;
}

void add_recompute(const ExportAsk& ask, Settings& out) {
  const Layout& l = ask.layout;
  const Recompute& r = l.recompute;
  if (r.full && r.full_layers > 0) {
    if (r.full_layers % l.vpp != 0)
      refuse("recompute", fmt::format("full:{} is not the same for each of {} chunks", r.full_layers, l.vpp));
    out["recompute_granularity"] = "full", out["recompute_method"] = "block";
    out["recompute_num_layers"] = text(r.full_layers / l.vpp);
  } else if (r.full) {
    out["recompute_granularity"] = "full", out["recompute_method"] = "uniform",
    out["recompute_num_layers"] = "1";
  } else if (r.modules != 0) {
    out["recompute_granularity"] = "selective", out["recompute_modules"] = recompute_modules(r);
    if ((r.modules & Recompute::mlp) != 0 && ask.model->has_moe()) out["recompute_modules"] += " moe";
  }
}

void add_precision(const Layout& l, Settings& out) {
  out["bf16"] = "true";
  switch (l.precision) {
    case Precision::bf16:
      return;
    case Precision::fp8_delayed:
      out["fp8_recipe"] = "delayed";
      break;
    case Precision::fp8_current:
      out["fp8_recipe"] = "tensorwise";
      break;
    case Precision::fp8_block:
      out["fp8_recipe"] = "blockwise";
      break;
    case Precision::mxfp8:
      out["fp8_recipe"] = "mxfp8";
      break;
    case Precision::nvfp4:
      out["fp4"] = "e2m1", out["fp4_recipe"] = "nvfp4";
      return;
    case Precision::fp8_row:
      refuse("precision", "fp8-row: there is no recipe with a scale for each row");
  }
  out["fp8"] = "hybrid";
}

void add_stages(const ExportAsk& ask, Settings& out) {
  const Layout& l = ask.layout;
  const std::int32_t layers = ask.model->layers(), chunks = l.pp * l.vpp;
  if (l.pp > 1 && l.schedule != kSchedule1F1B && l.schedule != kScheduleInterleaved)
    refuse("schedule",
           fmt::format("{} is not there; 1f1b and interleaved are", schedule_names()[l.schedule]));
  std::vector<std::int32_t> split = l.split;
  if (split.empty() && layers % chunks != 0 && (layers + 2) % chunks != 0 && (layers + 1) % chunks != 0)
    split = default_split(layers, chunks);
  if (!split.empty()) {
    out["pipeline_model_parallel_layout"] = pipeline_layout_text(split, ask.model->mtp_layers);
    return;
  }
  if (l.vpp > 1) out["num_virtual_stages_per_pipeline_rank"] = text(l.vpp);
  if (layers % chunks == 0) return;
  out["account_for_loss_in_pipeline_split"] = "true";
  if ((layers + 2) % chunks == 0) out["account_for_embedding_in_pipeline_split"] = "true";
}

void add_states(const Layout& l, Settings& out) {
  if (l.zero == 1) out["use_distributed_optimizer"] = "true";
  if (l.zero >= 2) {
    out["use_megatron_fsdp"] = "true", out["ckpt_format"] = "fsdp_dtensor";
    out["data_parallel_sharding_strategy"] = l.zero == 2 ? "optim_grads" : "optim_grads_params";
  }
  if (l.hsdp > 0) out["num_distributed_optimizer_instances"] = text(l.dp / l.hsdp);
  if (l.offload == Offload::optimizer)
    out["optimizer_cpu_offload"] = "true", out["use_precision_aware_optimizer"] = "true";
}

void add_exchanges(const ExportAsk& ask, Settings& out) {
  const Layout& l = ask.layout;
  const Attention& a = ask.model->attention();
  if (a.kind == AttentionKind::grouped && a.kv_heads < l.tp)
    refuse("tp", fmt::format("{} KV heads for tp {}, before Megatron-Core 0.16", a.kv_heads, l.tp));
  if (l.cp > 1 && l.cp_kind == CpKind::ring)
    refuse("cp_kind", "ring: the sequence is always cut into an early and a late piece for each rank");
  if (l.cp > 1) out["cp_comm_type"] = l.cp_kind == CpKind::a2a ? "a2a" : "p2p";
  if (!ask.model->has_moe()) return;
  out["expert_model_parallel_size"] = text(l.ep), out["expert_tensor_parallel_size"] = text(l.etp);
  out["moe_grouped_gemm"] = "true";
  if (l.dispatch == Dispatch::two_level || l.dispatch == Dispatch::rail)
    refuse("a2a", "exchanges in two levels or by rails");
  const bool dedup = l.dispatch == Dispatch::dedup;
  out["moe_token_dispatcher_type"] = dedup ? "flex" : "alltoall";
  if (dedup) out["moe_enable_deepep"] = "true";
  if (l.precision != Precision::bf16) out["moe_router_padding_for_fp8"] = "true";
  if (ask.capacity_factor > 0) {
    out["moe_expert_capacity_factor"] = fmt::format("{}", ask.capacity_factor);
    out["moe_pad_expert_input_to_capacity"] = "true";
  }
}

}  // namespace

void cannot_say(std::string_view target, std::string_view what, const std::string& why) {
  throw InputError("export", what, fmt::format("{} cannot express it: {}", target, why));
}

Settings model_settings(const Model& model) {
  check_one_kind(model);
  Settings out;
  out["num_layers"] = text(model.layers()), out["hidden_size"] = text(model.hidden);
  out["padded_vocab_size"] = text(model.vocab);
  out["normalization"] = model.norm == NormKind::rms ? "RMSNorm" : "LayerNorm";
  out["position_embedding_type"] = model.positions == Positions::rotary    ? "rope"
                                   : model.positions == Positions::learned ? "learned_absolute"
                                                                           : "none";
  if (model.positions == Positions::learned) out["max_position_embeddings"] = text(model.max_positions);
  if (!model.tied_embeddings) out["untie_embeddings_and_output_weights"] = "true";
  if (model.mtp_layers > 0) out["mtp_num_layers"] = text(model.mtp_layers);
  add_attention(model, out);
  add_biases(model, out);
  add_feed_forward(model, out);
  add_moe(model, out);
  add_windows(model, out);
  return out;
}

Settings layout_settings(const ExportAsk& ask) {
  const Layout& l = ask.layout;
  Settings out;
  out["tensor_model_parallel_size"] = text(l.tp), out["pipeline_model_parallel_size"] = text(l.pp);
  out["context_parallel_size"] = text(l.cp);
  out["micro_batch_size"] = text(l.mb), out["global_batch_size"] = text(ask.global_batch);
  out["seq_length"] = text(ask.seq);
  out.try_emplace("max_position_embeddings", text(ask.seq));
  if (l.sp) out["sequence_parallel"] = "true";
  if (l.order == AxisOrder::tp_cp_ep_pp_dp) out["use_tp_pp_dp_mapping"] = "true";
  add_states(l, out);
  add_stages(ask, out);
  add_recompute(ask, out);
  add_precision(l, out);
  add_exchanges(ask, out);
  return out;
}

}  // namespace tw::preflight
