// What the operators of the trainer do not do is refused by name before anything is allocated.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "topology/check.hpp"
#include "train/engine.hpp"

namespace tw::train {
namespace {

using testing::HasSubstr;

Model plain(bool experts) {
  Model model;
  model.name = "planted", model.hidden = 16, model.vocab = 60;
  LayerKind kind;
  kind.attention = {.heads = 4, .kv_heads = 2, .head_dim = 4, .value_dim = 4};
  if (experts)
    kind.moe = Moe{.experts = 8, .top_k = 2, .ffn = 8, .shared_ffn = 8};
  else
    kind.mlp = Mlp{.ffn = 24};
  add_layer(model, kind);
  return model;
}

std::string refusal(const Model& model) {
  try {
    refuse(model);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

struct Feature {
  const char* words;
  bool experts;
  std::function<void(Model&, LayerKind&)> planted;
};

const Feature kFeatures[] = {
    {"LayerNorm", false, [](Model& m, LayerKind&) { m.norm = NormKind::layer; }},
    {"positions other than rotary", false, [](Model& m, LayerKind&) { m.positions = Positions::learned; }},
    {"multi-token prediction", false, [](Model& m, LayerKind&) { m.mtp_layers = 1; }},
    {"Mamba-2 layers", false, [](Model&, LayerKind& k) { k.mamba.emplace(); }},
    {"a mixer or a feed-forward alone", false, [](Model&, LayerKind& k) { k.mlp.reset(); }},
    {"latent attention", false, [](Model&, LayerKind& k) { k.attention.kind = AttentionKind::latent; }},
    {"biases of attention", false, [](Model&, LayerKind& k) { k.attention.qkv_bias = true; }},
    {"biases of attention", false, [](Model&, LayerKind& k) { k.attention.out_bias = true; }},
    {"a norm over all heads", false, [](Model&, LayerKind& k) { k.attention.qk_norm = QkNorm::full; }},
    {"attention sinks", false, [](Model&, LayerKind& k) { k.attention.sinks = true; }},
    {"a sliding window", false, [](Model&, LayerKind& k) { k.attention.window = 8; }},
    {"values of another width", false, [](Model&, LayerKind& k) { k.attention.value_dim = 8; }},
    {"a feed-forward without a gate", false, [](Model&, LayerKind& k) { k.mlp->gated = false; }},
    {"biases of the feed-forward", false, [](Model&, LayerKind& k) { k.mlp->bias = true; }},
    {"experts without a gate", true, [](Model&, LayerKind& k) { k.moe->gated = false; }},
    {"biases of experts", true, [](Model&, LayerKind& k) { k.moe->bias = true; }},
    {"biases of experts or their router", true, [](Model&, LayerKind& k) { k.moe->router_bias = true; }},
    {"a gate of the shared expert", true, [](Model&, LayerKind& k) { k.moe->shared_gate = true; }},
    {"routing limited to nodes", true, [](Model&, LayerKind& k) { k.moe->groups = 2; }}};

TEST(Refuse, WhatThereIsNoOperatorForIsNamed) {
  for (const Feature& feature : kFeatures) {
    Model model = plain(feature.experts);
    feature.planted(model, model.kinds.front());
    const std::string said = refusal(model);
    EXPECT_THAT(said, HasSubstr(feature.words));
    EXPECT_THAT(said, testing::StartsWith("planted: model: "));
  }
}

TEST(Refuse, ASecondKindOfLayerIsLookedAtToo) {
  Model model = plain(false);
  LayerKind other = model.kinds.front();
  other.attention.window = 4;
  add_layer(model, other);
  EXPECT_THAT(refusal(model), HasSubstr("a sliding window"));
}

TEST(Refuse, PlainModelsPass) {
  EXPECT_EQ(refusal(plain(false)), "");
  EXPECT_EQ(refusal(plain(true)), "");
  Model model = plain(true);
  model.tied_embeddings = true, model.kinds.front().attention.qk_norm = QkNorm::head;
  EXPECT_EQ(refusal(model), "");
}

TEST(Refuse, ShippedModelsPassOrAreRefusedByName) {
  for (const char* name : {"llama-3.1-8b", "mixtral-8x7b", "qwen3-0.6b", "qwen3-30b-a3b"})
    EXPECT_EQ(refusal(load_model(name)), "") << name;
  for (const auto& [name, words] : {std::pair{"deepseek-v3", "multi-token prediction"},
                                    {"deepseek-v2-lite", "latent attention"},
                                    {"gpt3-175b", "LayerNorm"},
                                    {"nemotron-3-nano-30b-a3b", "Mamba-2 layers"},
                                    {"qwen2.5-72b", "biases of attention"},
                                    {"olmoe-1b-7b", "a norm over all heads"}})
    EXPECT_THAT(refusal(load_model(name)), HasSubstr(words)) << name;
}

}  // namespace
}  // namespace tw::train
