#include "costmodel/parameters.hpp"

#include "costmodel/blocks/attention_core.hpp"
#include "costmodel/program/work.hpp"

namespace tw {
namespace {

// One rank, one sequence: declared weights do not depend on either.
EmitInput one_rank(const Model& model, const Profile& profile) {
  return {&model, &profile, PassKey{}, 1, Routing{}};
}

struct Sums {
  std::int64_t total = 0, active = 0, looked_up = 0;
};

Sums sums_of(const LayerWork& work, const Moe* moe) {
  Sums sums;
  for (const Weight& weight : work.weights) {
    sums.total += weight.elements;
    sums.active +=
        weight.scope == Scope::expert ? weight.elements / moe->experts * moe->top_k : weight.elements;
    sums.looked_up += weight.looked_up ? weight.elements : 0;
  }
  return sums;
}

}  // namespace

ParameterCount count_parameters(const Model& model) {
  const Profile profile;
  const EmitInput input = one_rank(model, profile);
  std::vector<Sums> kinds;
  for (const LayerKind& kind : model.kinds)
    kinds.push_back(sums_of(emit_layer(input, kind), kind.moe ? &*kind.moe : nullptr));
  ParameterCount count;
  for (const std::uint8_t kind : model.layer_kind)
    count.total += kinds[kind].total, count.active += kinds[kind].active;
  for (const LayerWork& work : {emit_embedding(input), emit_head(input)}) {
    const Sums sums = sums_of(work, nullptr);
    count.total += sums.total, count.active += sums.active;
  }
  // A module: one more layer, two norms, a projection of 2 hidden to hidden, its own final norm.
  const std::int64_t hidden = model.hidden;
  if (model.mtp_layers > 0)
    count.mtp = model.mtp_layers * (kinds[model.layer_kind.back()].total + 2 * hidden * hidden + 3 * hidden);
  return count;
}

Flops model_flops_per_token(const Model& model, std::int32_t seq) {
  const Profile profile;
  const EmitInput input = one_rank(model, profile);
  const Sums embedding = sums_of(emit_embedding(input), nullptr);
  double active = static_cast<double>(count_parameters(model).active - embedding.looked_up);
  if (model.tied_embeddings) active += static_cast<double>(model.vocab) * model.hidden;
  double attention = 0;
  for (std::int32_t i = 0; i < model.layers(); ++i) {
    const Attention& a = model.layer(i).attention;
    // A state takes B x and gives C h: one multiply-add each per element (arXiv 2405.21060, section 6).
    if (const auto& m = model.layer(i).mamba)
      attention += 3 * 2 * 2.0 * static_cast<double>(m->inner()) * m->state;
    const double pairs = causal_pairs(seq, a.window) / seq;  // keys per query, on average
    attention += 3 * 2 * pairs * a.heads * (a.head_dim + a.value_dim);
  }
  return Flops(6 * active + attention);
}

}  // namespace tw
