#include "costmodel/neutral_keys.hpp"

#include <algorithm>
#include <iterator>

namespace tw {
namespace {

// Tokens, numerics, positions that carry no weights, loss terms, dropout, storage, generation and
// bookkeeping.
// clang-format off
constexpr std::string_view kNeutral[] = {
    "activation_function", "attention_dropout", "attention_probs_dropout_prob", "attn_pdrop",
    "attn_implementation", "auto_map", "aux_loss_alpha", "bad_words_ids", "begin_suppress_tokens",
    "bos_token_id", "chunk_size_feed_forward", "classifier_dropout", "clip_qkv", "decoder_start_token_id",
    "diversity_penalty", "do_sample", "dtype", "early_stopping", "embd_pdrop",
    "encoder_no_repeat_ngram_size", "eos_token_id", "ep_size", "exponential_decay_length_penalty",
    "finetuning_task", "forced_bos_token_id", "forced_eos_token_id", "gradient_checkpointing",
    "hidden_act", "hidden_dropout", "hidden_dropout_prob", "id2label", "initial_context_length",
    "initializer_range", "is_decoder", "label2id", "layer_norm_eps", "layer_norm_epsilon",
    "length_penalty", "mamba_hidden_act", "mamba_ssm_cache_dtype", "max_length", "max_position_embeddings", "max_sequence_length", "min_length",
    "mlp_hidden_act", "model_type", "n_ctx", "name_or_path", "no_repeat_ngram_size", "norm_eps", "norm_topk_prob", "num_beam_groups",
    "num_beams", "num_labels", "num_logits_to_keep", "num_return_sequences", "output_attentions", "output_hidden_states",
    "output_router_logits", "output_scores", "pad_token_id", "partial_rotary_factor", "prefix",
    "pretraining_tp", "problem_type", "quantization", "quantization_config", "remove_invalid_values",
    "reorder_and_upcast_attn", "repetition_penalty", "rescale_prenorm_residual", "resid_pdrop", "return_dict",
    "return_dict_in_generate", "rms_norm_eps", "rope_interleave", "rope_parameters", "rope_scaling",
    "rope_theta", "rotary_emb_base", "rotary_pct", "routed_scaling_factor", "router_aux_loss_coef",
    "router_jitter_noise", "scale_attn_by_inverse_layer_idx", "scale_attn_weights", "scoring_func",
    "sep_token_id", "seq_aux", "summary_activation", "summary_first_dropout", "summary_proj_to_labels",
    "summary_type", "summary_use_proj", "suppress_tokens", "swiglu_alpha", "swiglu_limit",
    "task_specific_params", "temperature", "tf_legacy_loss", "tie_encoder_decoder", "time_step_floor", "time_step_limit", "time_step_max",
    "time_step_min", "tokenizer_class",
    "top_k", "top_p", "torch_dtype", "torchscript", "transformers_version", "typical_p", "unsloth_fixed",
    "unsloth_version", "use_bfloat16", "use_cache", "use_mrope", "use_parallel_residual",
};
// clang-format on

}  // namespace

bool is_neutral_key(std::string_view key) {
  const bool note = key.starts_with('_');  // Hugging Face's private fields, and our own notes
  return note || std::find(std::begin(kNeutral), std::end(kNeutral), key) != std::end(kNeutral);
}

}  // namespace tw
