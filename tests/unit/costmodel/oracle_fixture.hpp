// Small models, a one-layer emitter and a machine with shipped calibrations, for hand-derived cases.
#pragma once

#include <memory>
#include <string>

#include "costmodel/evaluator.hpp"
#include "costmodel/model.hpp"
#include "costmodel/profile.hpp"
#include "topology/registry.hpp"

namespace tw::test {

inline std::string scenario(const std::string& kind, const std::string& name) {
  return std::string(TW_SOURCE_DIR) + "/scenarios/" + kind + "/" + name + ".json";
}

// A Llama-like or Mixtral-like model: rms norms, rotary positions, SwiGLU.
struct Sizes {
  std::int32_t hidden = 512, heads = 8, kv_heads = 4, head_dim = 64, ffn = 1024, vocab = 1000, layers = 4;
  std::int32_t experts = 0, top_k = 0;
};
inline Model small_model(const Sizes& s) {
  Model model;
  model.name = "small", model.family = s.experts > 0 ? "mixtral" : "llama";
  model.hidden = s.hidden, model.vocab = s.vocab;
  LayerKind kind;
  kind.attention.heads = s.heads, kind.attention.kv_heads = s.kv_heads;
  kind.attention.head_dim = kind.attention.value_dim = s.head_dim;
  if (s.experts > 0) {
    kind.moe.emplace();
    kind.moe->experts = s.experts, kind.moe->top_k = s.top_k, kind.moe->ffn = s.ffn;
  } else {
    kind.mlp.emplace();
    kind.mlp->ffn = s.ffn;
  }
  for (std::int32_t i = 0; i < s.layers; ++i) add_layer(model, kind);
  return model;
}

inline Profile megatron() {
  return load_profile(scenario("frameworks", "megatron"));
}

// Holds everything an Evaluator points to; not movable once built.
struct Setup {
  Model model;
  Cluster cluster;
  Fabric fabric;
  Calibration calibration;
  Profile profile;
  Job job;
  Machine machine;

  Setup(Model m, Cluster c, Profile p, std::int64_t batch, std::int32_t seq)
      : model(std::move(m)),
        cluster(std::move(c)),
        fabric(cluster),
        calibration(load_calibration(scenario("calibrations", "h100-sxm"), cluster)),
        profile(std::move(p)),
        job{&model, batch, seq, cluster.gpus},
        machine{&cluster, &fabric, &calibration, &profile} {}
  Setup(const Setup&) = delete;
  Setup& operator=(const Setup&) = delete;
  Evaluator evaluator(Bytes headroom = Bytes(0)) const { return {job, machine, {headroom, {}, 20000}}; }
};

inline Cluster h100(std::int32_t gpus) {
  return load_cluster(scenario("clusters", "h100-sxm") + ":" + std::to_string(gpus));
}

}  // namespace tw::test
