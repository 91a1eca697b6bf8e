// Any text and any sizes: a config is read into a sound model or refused in one line.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>

#include "costmodel/model.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

constexpr std::int32_t kLimit = 1 << 24;

bool in_range(std::int32_t value) {
  return value >= 1 && value <= kLimit;
}

void expect_sound(const Model& model) {
  RC_ASSERT(in_range(model.hidden) && in_range(model.vocab) && in_range(model.layers()));
  for (std::int32_t i = 0; i < model.layers(); ++i) {
    const LayerKind& kind = model.layer(i);
    const Attention& a = kind.attention;
    const bool attends = a.kind != AttentionKind::none, feeds = kind.mlp || kind.moe;
    RC_ASSERT(attends || kind.mamba || feeds);
    RC_ASSERT(!(kind.mlp && kind.moe) && !(attends && kind.mamba));
    if (attends) {
      RC_ASSERT(in_range(a.heads) && in_range(a.head_dim) && in_range(a.value_dim) && in_range(a.kv_heads));
      RC_ASSERT(a.heads % a.kv_heads == 0);
    }
    if (kind.mamba) RC_ASSERT(kind.mamba->inner() <= kLimit && kind.mamba->heads % kind.mamba->groups == 0);
    if (kind.mlp) RC_ASSERT(in_range(kind.mlp->ffn));
    if (kind.moe) RC_ASSERT(in_range(kind.moe->ffn) && kind.moe->top_k <= kind.moe->experts);
  }
}

// True where the text was accepted.
bool read_or_refuse(const std::string& text) {
  try {
    expect_sound(read_model(parse_json(text, "any.json"), "any"));
    return true;
  } catch (const InputError& error) {
    RC_ASSERT(std::string_view(error.what()).starts_with("any.json: "));
    RC_ASSERT(std::string_view(error.what()).find('\n') == std::string_view::npos);
    return false;
  }
}

RC_GTEST_PROP(ConfigProperty, BytesChangedAnywhere, ()) {
  const std::vector<std::string> names = scenario_names("models");
  std::string text = read_file(scenario_path("models", *rc::gen::elementOf(names)));
  for (int i = *rc::gen::inRange(1, 4); i > 0; --i) {
    text[*rc::gen::inRange<std::size_t>(0, text.size())] = *rc::gen::arbitrary<char>();
  }
  read_or_refuse(text);
}

RC_GTEST_PROP(ConfigProperty, AnyTextUnderAnyKey, ()) {
  const auto text = *rc::gen::string<std::string>();
  read_or_refuse(text);
  read_or_refuse(Json::object().set("model_type", text).dump());
  read_or_refuse(Json::object().set("model_type", "llama").set(printable(text), text).dump());
}

constexpr std::array kSizeKeys = {"hidden_size",
                                  "intermediate_size",
                                  "vocab_size",
                                  "num_attention_heads",
                                  "num_hidden_layers",
                                  "num_key_value_heads",
                                  "head_dim",
                                  "n_routed_experts",
                                  "n_shared_experts",
                                  "num_experts_per_tok",
                                  "moe_intermediate_size",
                                  "n_group",
                                  "topk_group",
                                  "first_k_dense_replace",
                                  "moe_layer_freq",
                                  "q_lora_rank",
                                  "kv_lora_rank",
                                  "qk_nope_head_dim",
                                  "qk_rope_head_dim",
                                  "v_head_dim",
                                  "num_experts",
                                  "num_local_experts",
                                  "decoder_sparse_step",
                                  "sliding_window",
                                  "max_window_layers",
                                  "shared_expert_intermediate_size",
                                  "n_embd",
                                  "n_head",
                                  "n_layer",
                                  "n_positions",
                                  "n_inner",
                                  "num_nextn_predict_layers"};

// Shipped configs with sizes changed: most are refused, none may load with a size out of range.
RC_GTEST_PROP(ConfigProperty, SizesChanged, ()) {
  const std::vector<std::string> names = scenario_names("models");
  const JsonView whole = load_json(scenario_path("models", *rc::gen::elementOf(names)));
  std::string text = "{";
  for (const std::string& key : whole.keys()) {
    const bool size = std::find(kSizeKeys.begin(), kSizeKeys.end(), key) != kSizeKeys.end();
    const bool change = size && *rc::gen::inRange(0, 4) == 0;
    const std::int64_t value = *rc::gen::oneOf(
        rc::gen::inRange<std::int64_t>(-2, 130),
        rc::gen::map(rc::gen::inRange(0, 63), [](int bits) { return std::int64_t{1} << bits; }));
    const auto old = whole.find(key);
    text += (text.size() > 1 ? ",\"" : "\"") + key + "\":";
    text += change ? std::to_string(value) : (old ? old->dump() : "null");
  }
  RC_CLASSIFY(read_or_refuse(text + "}"), "accepted");
}

}  // namespace
}  // namespace tw
