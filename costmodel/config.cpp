#include "costmodel/config.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "costmodel/neutral_keys.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

// The widest published sizes (vocabulary 262,144; context 10,485,760; width 53,248) fit well inside.
constexpr std::int32_t kMaxSize = 1 << 24;
constexpr double kMaxParameters = 9.0e15;  // below 2^53: counts stay exact as doubles

// Keys that leave the shape alone only while they are off.
constexpr std::string_view kMustBeFalse[] = {"add_cross_attention", "is_encoder_decoder"};

bool is_language_model(std::string_view architecture) {
  return architecture.ends_with("ForCausalLM") || architecture.ends_with("LMHeadModel");
}

void check_architectures(const JsonView& node) {
  for (std::size_t i = 0; node.is_array() ? i < node.size() : i < 1; ++i) {
    const std::string name = node[i].string();
    if (!is_language_model(name)) {
      node[i].fail(fmt::format("\"{}\" is not a language model: must end in ForCausalLM or LMHeadModel",
                               printable(name)));
    }
  }
}

// Weights of one layer, rounded up to three matrices per MLP.
double about(const Model& model, const LayerKind& kind) {
  const double heads = static_cast<double>(kind.attention.heads) *
                       (2.0 * kind.attention.head_dim + 2.0 * kind.attention.value_dim);
  double ffn = kind.mlp ? kind.mlp->ffn : 0.0;
  if (kind.moe) ffn += static_cast<double>(kind.moe->experts) * kind.moe->ffn + kind.moe->shared_ffn;
  const double scanned =
      kind.mamba ? 4.0 * static_cast<double>(kind.mamba->inner() + kind.mamba->shared()) : 0;
  return model.hidden * (heads + scanned + 3.0 * ffn);
}

}  // namespace

Config::Config(const JsonView& root) : root_(root) {
  if (const auto names = root_.find("architectures")) check_architectures(*names);
  read_.insert("architectures");
  for (const std::string_view key : kMustBeFalse) {
    if (flag(key, false)) fail(key, "must be false: only decoders without cross-attention are understood");
  }
  const auto pruned = take("pruned_heads");
  if (pruned && pruned->size() != 0) pruned->fail("must be empty: pruned heads are not understood");
}

bool Config::has(std::string_view key) const {
  const std::vector<std::string> keys = root_.keys();
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

std::optional<JsonView> Config::take(std::string_view key) {
  read_.insert(std::string(key));
  return root_.find(key);
}

std::int32_t Config::whole(const JsonView& node, std::int32_t low) const {
  const std::int64_t value = node.integer();
  if (value < low || value > kMaxSize) {
    node.fail(fmt::format("must be a whole number from {} to {}, is {}", low, kMaxSize, value));
  }
  return static_cast<std::int32_t>(value);
}

std::int32_t Config::size(std::string_view key) {
  const auto node = take(key);
  if (!node) fail(key, "missing key: this family needs it");
  return whole(*node, 1);
}

std::int32_t Config::size(std::string_view key, std::int32_t absent) {
  const auto node = take(key);
  return node ? whole(*node, 1) : absent;
}

std::int32_t Config::count(std::string_view key, std::int32_t absent) {
  const auto node = take(key);
  return node ? whole(*node, 0) : absent;
}

std::optional<std::int32_t> Config::size_or_null(std::string_view key, std::optional<std::int32_t> absent) {
  if (!has(key)) return absent;
  const auto node = take(key);
  return node ? std::optional(whole(*node, 1)) : std::nullopt;
}

bool Config::flag(std::string_view key, bool absent) {
  const auto node = take(key);
  return node ? node->boolean() : absent;
}

std::string Config::choice(std::string_view key, std::string_view absent,
                           const std::vector<std::string>& legal) {
  const auto node = take(key);
  const std::string value = node ? node->string() : std::string(absent);
  if (std::find(legal.begin(), legal.end(), value) == legal.end()) {
    fail(key, fmt::format("unknown \"{}\"; understood: {}", printable(value), joined(legal)));
  }
  return value;
}

std::string Config::pattern(std::string_view key, std::string_view legal, std::int32_t length) {
  const auto node = take(key);
  if (!node) fail(key, "missing key: this family needs it");
  const std::string text = node->string();
  if (text.size() != static_cast<std::size_t>(length)) {
    node->fail(fmt::format("must have one letter for each of the {} layers, has {}", length, text.size()));
  }
  if (const auto at = text.find_first_not_of(legal); at != std::string::npos)
    node->fail(fmt::format("unknown \"{}\"; understood: {}", printable(text.substr(at, 1)), legal));
  return text;
}

std::vector<std::int32_t> Config::indices(std::string_view key, std::int32_t below) {
  std::vector<std::int32_t> out;
  const auto node = take(key);
  if (!node) return out;
  if (!node->is_array()) node->fail("must be a list of layer indices");
  for (std::size_t i = 0; i < node->size(); ++i) {
    out.push_back(whole((*node)[i], 0));
    if (out.back() >= below)
      (*node)[i].fail(fmt::format("must be below the {} layers, is {}", below, out.back()));
  }
  return out;
}

std::optional<std::vector<bool>> Config::sliding_layers(std::int32_t layers) {
  const auto node = take("layer_types");
  if (!node) return std::nullopt;
  if (!node->is_array()) node->fail("must be a list with one entry per layer");
  if (node->size() != static_cast<std::size_t>(layers)) {
    node->fail(fmt::format("must have one entry for each of the {} layers, has {}", layers, node->size()));
  }
  std::vector<bool> sliding;
  for (std::size_t i = 0; i < node->size(); ++i) {
    const std::string kind = (*node)[i].string();
    sliding.push_back(kind == "sliding_attention");
    if (!sliding.back() && kind != "full_attention") {
      (*node)[i].fail(
          fmt::format("unknown \"{}\"; understood: full_attention, sliding_attention", printable(kind)));
    }
  }
  return sliding;
}

void Config::repeated(std::string_view key, std::int32_t value, std::string_view meaning) {
  const auto node = take(key);
  if (node && node->integer() != value) node->fail(fmt::format("must be {} ({})", value, meaning));
}

void Config::refuse_unread() const {
  for (const std::string& key : root_.keys()) {
    if (read_.contains(key) || is_neutral_key(key)) continue;
    fail(printable(key),
         "unknown key: it may change the model in a way not understood; remove it if it does not");
  }
}

void Config::fail(std::string_view key, std::string_view message) const {
  throw InputError(root_.file(), key, message);
}

void refuse_impossible_totals(const Config& config, const Model& model) {
  double total = 2.0 * model.hidden * (static_cast<double>(model.vocab) + model.max_positions);
  for (std::int32_t i = 0; i < model.layers(); ++i) total += about(model, model.layer(i));
  if (total > kMaxParameters) {
    config.fail("", fmt::format("about {:.1e} parameters in all; at most {:.0e} are understood", total,
                                kMaxParameters));
  }
}

}  // namespace tw
