// A decoder-only transformer as the cost model sees it: only what changes shapes, bytes or FLOPs.
// families/*.cpp read it from a Hugging Face config.json; blocks/*.cpp declare its weights and ops.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "topology/json.hpp"

namespace tw {

enum class AttentionKind : std::uint8_t {
  grouped,  // MHA, GQA, MQA: q, k, v projections by heads
  latent,   // MLA: low-rank q and kv (DeepSeek-V2, arXiv 2405.04434, section 2.1)
  none      // a layer without attention
};
enum class QkNorm : std::uint8_t {
  none,
  head,  // over head_dim, one weight of head_dim for q and one for k (Qwen3)
  full   // over all heads together: weights of heads*head_dim and kv_heads*head_dim (OLMoE)
};
enum class NormKind : std::uint8_t { rms, layer };  // layer: weight and bias
enum class Positions : std::uint8_t { rotary, learned, none };

struct Attention {
  AttentionKind kind = AttentionKind::grouped;
  std::int32_t heads = 0;
  std::int32_t kv_heads = 0;
  std::int32_t head_dim = 0;   // of q and k; latent: nope + rope parts
  std::int32_t value_dim = 0;  // of v; equals head_dim unless latent
  bool qkv_bias = false;
  bool out_bias = false;
  QkNorm qk_norm = QkNorm::none;
  bool sinks = false;         // one learned logit per head (gpt_oss)
  std::int32_t window = 0;    // sliding window in tokens; 0: full causal
  std::int32_t q_rank = 0;    // latent: rank of the q compression, 0: q projected directly
  std::int32_t kv_rank = 0;   // latent: rank of the shared kv compression
  std::int32_t rope_dim = 0;  // latent: part of head_dim with rotary positions, shared by heads in k
  friend bool operator==(const Attention&, const Attention&) = default;
};

struct Mlp {
  std::int32_t ffn = 0;
  bool gated = true;  // gate and up projections (SwiGLU); plain: one up projection
  bool bias = false;
  friend bool operator==(const Mlp&, const Mlp&) = default;
};

struct Moe {
  std::int32_t experts = 0;
  std::int32_t top_k = 0;
  std::int32_t ffn = 0;  // of one routed expert
  bool gated = true;
  bool bias = false;             // in the experts' projections (gpt_oss)
  bool router_bias = false;      // counted as parameters (gpt_oss; DeepSeek-V3's correction bias)
  std::int32_t shared_ffn = 0;   // width of all shared experts together; 0: none
  bool shared_gate = false;      // sigmoid gate of the shared expert (qwen2_moe)
  std::int32_t groups = 1;       // node-limited routing: experts in `groups`, at most `group_limit`
  std::int32_t group_limit = 1;  // of them per token; 1 of 1: no limit
  friend bool operator==(const Moe&, const Moe&) = default;
};

// A Mamba-2 mixer (arXiv 2405.21060, section 7): `heads` of head_dim channels, each with a state of
// head_dim x state; B and C are shared by the heads of a group.
struct Mamba {
  std::int32_t heads = 0, head_dim = 0;
  std::int32_t groups = 1, state = 0;
  std::int32_t conv = 4;  // taps of the causal convolution over x, B and C
  bool conv_bias = true;
  std::int32_t chunk = 128;  // tokens of one chunk of the scan
  std::int64_t inner() const { return std::int64_t{heads} * head_dim; }
  std::int64_t shared() const { return std::int64_t{groups} * state; }  // of B, and of C
  friend bool operator==(const Mamba&, const Mamba&) = default;
};

// One kind of layer: a mixer and a feed-forward, or in a hybrid one of the two. At most one of mlp and
// moe is set; without attention and mamba there is no mixer.
struct LayerKind {
  Attention attention;
  std::optional<Mlp> mlp;
  std::optional<Moe> moe;
  std::optional<Mamba> mamba = {};
  friend bool operator==(const LayerKind&, const LayerKind&) = default;
};

struct Model {
  std::string name;
  std::string family;  // the row of families/ that read it
  std::int32_t hidden = 0;
  std::int32_t vocab = 0;
  NormKind norm = NormKind::rms;
  Positions positions = Positions::rotary;
  std::int32_t max_positions = 0;  // rows of the learned position table; 0 with rotary
  bool tied_embeddings = false;
  std::vector<LayerKind> kinds;          // the distinct kinds, in order of first use
  std::vector<std::uint8_t> layer_kind;  // index into kinds, per layer
  std::int32_t mtp_layers = 0;           // multi-token-prediction modules beside the layers (DeepSeek-V3)

  std::int32_t layers() const { return static_cast<std::int32_t>(layer_kind.size()); }
  const LayerKind& layer(std::int32_t index) const {
    return kinds[layer_kind[static_cast<std::size_t>(index)]];
  }
  bool has_moe() const;
  const Moe* moe() const;              // of the first MoE kind, nullptr if dense
  const Attention& attention() const;  // of the first kind that has any
  friend bool operator==(const Model&, const Model&) = default;
};

// Appends a layer of this kind, sharing equal kinds.
void add_layer(Model& model, const LayerKind& kind);

// A model family: reads the keys of its config.json. `architecture` is the config's model_type.
struct Family {
  std::string_view name;  // model_type: "llama", "qwen3_moe", ...
  int order;              // of display
  std::string_view help;
  Model (*read)(const JsonView& config);
};
std::span<const Family* const> all_families();

// A model from a config.json (file) or a name in scenarios/models. Unknown architectures, and keys
// that change the shape and are not understood, are refused by name.
Model load_model(std::string_view name_or_path);
Model read_model(const JsonView& config, std::string_view name);

}  // namespace tw
