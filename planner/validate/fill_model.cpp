#include "planner/validate/fill_model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "costmodel/parameters.hpp"
#include "planner/validate/conventions.hpp"
#include "planner/validate/words.hpp"
#include "topology/units.hpp"

namespace tw::validate {
namespace {

constexpr double kSameCount = 0.01;

bool agrees(const MaybeCount& said, std::int32_t ours) {
  return !said || *said == ours;
}

// What one cannot change without being another model.
bool same_shape(const RowModel& m, const Model& named) {
  const LayerKind& last = named.layer(named.layers() - 1);
  const Attention& a = last.attention;
  if (!agrees(m.hidden, named.hidden) || !agrees(m.heads, a.heads)) return false;
  if (m.kv_heads && a.kind == AttentionKind::grouped && *m.kv_heads != a.kv_heads) return false;
  if (m.head_dim && a.kind == AttentionKind::grouped && *m.head_dim != a.head_dim) return false;
  if (m.vocab && *m.vocab != named.vocab) return false;
  if (m.tied_embeddings && *m.tied_embeddings != named.tied_embeddings) return false;
  if (!last.moe) return !m.experts.value_or(0) && last.mlp && agrees(m.ffn_hidden, last.mlp->ffn);
  return agrees(m.experts, last.moe->experts) && agrees(m.topk, last.moe->top_k) &&
         agrees(m.moe_ffn_hidden, last.moe->ffn);
}

// The same model with another number of layers: its dense first layers stay, one where it is cut.
Model with_layers(const Model& named, std::int32_t layers) {
  Model out = named;
  const LayerKind first = named.layer(0), last = named.layer(named.layers() - 1);
  std::int32_t leading = 0;
  while (leading < named.layers() &&
         named.layer_kind[static_cast<std::size_t>(leading)] == named.layer_kind[0])
    ++leading;
  if (leading == named.layers()) leading = 0;
  if (layers < named.layers()) leading = std::min(leading, 1);
  if (named.kinds.size() == 1 || !first.mlp || !last.moe) {  // periodic kinds go on as they began
    out.layer_kind.clear();
    for (std::int32_t i = 0; i < layers; ++i) {
      out.layer_kind.push_back(named.layer_kind[static_cast<std::size_t>(i % named.layers())]);
    }
    return out;
  }
  out.kinds.clear(), out.layer_kind.clear();
  for (std::int32_t i = 0; i < layers; ++i) add_layer(out, i < leading ? first : last);
  return out;
}

std::optional<Model> named_model(const Row& row, std::vector<std::string>& filled) {
  const std::string name = letters_and_digits(row.model.name);
  for (const NamedModel& each : named_models()) {
    const bool all = std::all_of(each.needles.begin(), each.needles.end(), [&](std::string_view needle) {
      return name.find(needle) != std::string::npos;
    });
    if (!all) continue;
    Model model = load_model(each.scenario);
    if (!same_shape(row.model, model)) continue;
    filled.push_back(fmt::format("model: gating, vocabulary, ties and attention of {}", each.scenario));
    const std::int32_t layers = row.model.layers.value_or(model.layers());
    if (layers != model.layers()) {
      filled.push_back(fmt::format("model: {} layers of its {}", layers, model.layers()));
      model = with_layers(model, layers);
      model.mtp_layers = 0;
    }
    return model;
  }
  return std::nullopt;
}

Attention attention_of(const RowModel& m, const Convention& c) {
  Attention a;
  a.heads = *m.heads;
  a.kv_heads = m.kv_heads.value_or(*m.heads);
  a.head_dim = a.value_dim = m.head_dim.value_or(std::max(1, *m.hidden / *m.heads));
  a.qkv_bias = a.out_bias = c.bias;
  if (!c.latent) return a;
  a.kind = AttentionKind::latent;
  a.kv_heads = a.heads;
  a.q_rank = c.latent->q_rank, a.kv_rank = c.latent->kv_rank, a.rope_dim = c.latent->rope;
  a.head_dim = c.latent->nope + c.latent->rope, a.value_dim = c.latent->value;
  return a;
}

Model model_by(const Row& row, const Convention& c, std::int32_t vocab) {
  const RowModel& m = row.model;
  Model out;
  out.name = m.name, out.family = std::string(c.name);
  out.hidden = *m.hidden, out.vocab = vocab;
  out.norm = c.norm;
  out.tied_embeddings = m.tied_embeddings.value_or(c.tied);
  if (c.learned_positions) out.positions = Positions::learned, out.max_positions = *m.seq_len;
  const bool gated = m.gated_mlp.value_or(c.gated);
  LayerKind dense{attention_of(m, c), std::nullopt, std::nullopt};
  // The usual widths: 4 hidden, or 8/3 of it where a gate adds a third matrix (arXiv 2002.05202).
  const std::int32_t usual = gated ? *m.hidden * 8 / 3 : 4 * *m.hidden;
  dense.mlp = Mlp{m.ffn_hidden.value_or(usual), gated, c.bias};
  LayerKind sparse = dense;
  const bool moe = m.experts.value_or(0) > 0;
  if (moe) {
    sparse.mlp.reset();
    Moe e;
    e.experts = *m.experts, e.top_k = std::max(1, m.topk.value_or(1));
    const std::int32_t own = m.moe_ffn_hidden.value_or(0);
    e.ffn = own > 0 ? own : m.ffn_hidden.value_or(usual);
    e.gated = gated;
    e.shared_ffn = m.shared_experts.value_or(0) * e.ffn;
    sparse.moe = e;
  }
  for (std::int32_t i = 0; i < *m.layers; ++i) add_layer(out, moe && i >= c.dense_layers ? sparse : dense);
  return out;
}

double billion() {
  return static_cast<double>(*parse_count("1B", "").value);
}

double count_error(const Model& model, const Row& row) {
  return std::abs(static_cast<double>(count_parameters(model).total) / (*row.model.params_b * billion()) - 1);
}

// The family's own convention where it matches or nothing can be matched, else the nearest that does.
Model conventional_model(const Row& row, std::int32_t usual_vocab, std::vector<std::string>& filled) {
  const Convention& family = convention_of(row.model.name);
  const std::int32_t vocab = row.model.vocab.value_or(usual_vocab > 0 ? usual_vocab : family.vocab);
  if (!row.model.vocab)
    filled.push_back(fmt::format("model.vocab: {} ({})", vocab,
                                 usual_vocab > 0 ? "of the source" : "usual of the family"));
  Model best = model_by(row, family, vocab);
  const Convention* chosen = &family;
  double error = row.model.params_b ? count_error(best, row) : 0;
  for (const Convention& each : conventions()) {
    if (error <= kSameCount || family.latent || !row.model.params_b || usual_vocab > 0) break;
    const Model model = model_by(row, each, row.model.vocab.value_or(each.vocab));
    if (count_error(model, row) > kSameCount) continue;
    best = model, chosen = &each, error = count_error(model, row);
  }
  filled.push_back(
      fmt::format("model: convention of {} ({} MLP, {} embeddings){}", chosen->name,
                  best.kinds.back().mlp ? (best.kinds.back().mlp->gated ? "gated" : "plain")
                                        : (chosen->gated ? "gated" : "plain"),
                  best.tied_embeddings ? "tied" : "untied",
                  row.model.params_b ? fmt::format(", parameters within {:.1f}%", 100 * error) : ""));
  return best;
}

std::string missing_sizes(const RowModel& m) {
  std::string out;
  const auto need = [&](const MaybeCount& value, std::string_view name) {
    if (!value) out += (out.empty() ? "" : ", ") + std::string(name);
  };
  need(m.layers, "layers"), need(m.hidden, "hidden"), need(m.heads, "heads"), need(m.seq_len, "seq_len");
  return out;
}

std::string impossible_sizes(const RowModel& m) {
  constexpr std::int32_t kMostLayers = 4096, kMostWidth = 1 << 20;
  if (m.layers.value_or(1) > kMostLayers) return "model.layers must be at most 4096";
  for (const MaybeCount& width :
       {m.hidden, m.ffn_hidden, m.heads, m.kv_heads, m.head_dim, m.moe_ffn_hidden, m.experts}) {
    if (width.value_or(1) > kMostWidth) return "model sizes must be at most 1048576";
  }
  if (m.heads && m.kv_heads && *m.kv_heads > *m.heads) return "model.kv_heads are more than model.heads";
  if (m.experts.value_or(0) > 0 && m.topk.value_or(1) > *m.experts)
    return "model.topk is more than model.experts";
  if (m.shared_experts.value_or(0) > kMostLayers) return "model.shared_experts must be at most 4096";
  return {};
}

}  // namespace

FilledModel fill_model(const Row& row, std::int32_t usual_vocab, std::vector<std::string>& filled) {
  if (row.model.name.empty()) return {{}, "model.name is missing"};
  const std::string impossible = impossible_sizes(row.model);
  if (!impossible.empty()) return {{}, impossible};
  if (!row.model.seq_len) return {{}, "model.seq_len is missing"};
  if (auto named = named_model(row, filled)) return {std::move(*named), {}};
  const std::string missing = missing_sizes(row.model);
  if (mentions(row.model.name, "mamba"))
    return {{}, "a hybrid with Mamba layers whose name is not one of scenarios/models"};
  if (!missing.empty())
    return {{}, "model has no " + missing + ", and its name is not one of scenarios/models"};
  return {conventional_model(row, usual_vocab, filled), {}};
}

}  // namespace tw::validate
