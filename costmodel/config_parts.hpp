// Parts of a config.json that several families spell alike: the trunk, grouped and latent attention,
// sliding windows and experts. Rules: the modeling files of Hugging Face transformers 4.57.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "costmodel/config.hpp"

namespace tw {

// hidden_size, vocab_size and tie_word_embeddings.
Model read_trunk(Config& config, bool tied_when_absent = false);
std::int32_t read_layer_count(Config& config);

// Defaults of num_key_value_heads and head_dim where the key is absent; nothing: as many as heads,
// and hidden / heads. Both read null as nothing.
struct GroupedDefaults {
  std::optional<std::int32_t> kv_heads = {};
  std::optional<std::int32_t> head_dim = {};
};
Attention read_grouped(Config& config, std::int32_t hidden, const GroupedDefaults& defaults = {});
Attention read_latent(Config& config);

// Refuses a head count that does not divide, named by its key.
std::int32_t divided(const Config& config, std::string_view key, std::int32_t whole, std::int32_t parts);

// All layers of a model. `sliding` and `sparse` are per layer; empty: none slides, and all are sparse
// where there are experts.
struct Stack {
  Attention attention;
  std::int32_t window = 0;
  std::vector<bool> sliding = {};
  std::optional<Mlp> mlp = {};
  std::optional<Moe> moe = {};
  std::vector<bool> sparse = {};
};
void add_layers(Model& model, std::int32_t layers, const Stack& stack);

// use_sliding_window and sliding_window of the Qwen families; 0: full attention.
std::int32_t read_optional_window(Config& config);
// The dense layers of Qwen2 and Qwen3: the window from max_window_layers on, or as layer_types says.
void add_qwen_dense_layers(Model& model, Config& config, const Attention& attention);
// decoder_sparse_step and mlp_only_layers: which layers have experts (Qwen2-MoE, Qwen3-MoE).
std::vector<bool> read_sparse_layers(Config& config, std::int32_t layers);
// num_experts_per_tok against the experts that a token may reach.
void check_top_k(const Config& config, const Moe& moe);

// DeepSeek-V2 and V3 (arXiv 2405.04434, 2412.19437): latent attention, shared experts, first layers
// dense. `grouped_routing` says whether topk_method limits a token to some groups of experts.
Moe read_deepseek_moe(Config& config, bool grouped_routing);
std::vector<bool> read_deepseek_sparse_layers(Config& config, std::int32_t layers,
                                              std::int32_t dense_when_absent);

}  // namespace tw
