// What sources leave to their readers (scenarios/published/sources.json): which framework ran, how
// FLOPs were counted, routing. Data, so that a new source needs no code.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "planner/validate/row.hpp"
#include "topology/described.hpp"

namespace tw::validate {

// causal: half of attention; full: all of it; recomputed: full, and each layer's forward twice.
enum class FlopsConvention : std::uint8_t { causal, full, recomputed };
constexpr auto enum_names(const FlopsConvention*) {
  return std::array<std::pair<FlopsConvention, std::string_view>, 3>{
      {{FlopsConvention::causal, "causal"},
       {FlopsConvention::full, "full"},
       {FlopsConvention::recomputed, "recomputed"}}};
}

struct SourceRule {
  std::vector<std::string> match;       // all of them, in lower case
  std::vector<std::string> frameworks;  // profiles, best first: the first that is there
  FlopsConvention flops = FlopsConvention::full;
  std::optional<std::int32_t> zero;      // where the row does not say
  std::optional<std::string> recompute;  // the same
  std::optional<bool> sp;
  Defaulted<bool> etp_is_tp;  // experts are cut by tp where the row does not say; else they are whole
  std::optional<std::int32_t> vocab, vpp, micro_batch;
  std::optional<double> capacity_factor;
  std::optional<std::string> memory;     // which memory a row means that does not say: reserved, ...
  std::optional<std::string> attention;  // kernel that the source names, whatever the profile has
  std::optional<bool> tp_overlap;        // whether its recipes cut tensor-parallel collectives up, likewise
  std::optional<std::string> gradient;   // type that its recipes keep and sum gradients in, likewise
  std::string source;
};
TW_DESCRIBE(SourceRule, match, frameworks, flops, zero, recompute, sp, etp_is_tp, vocab, vpp, micro_batch,
            capacity_factor, memory, attention, tp_overlap, gradient, source);

// Words in a row's notes that say a mechanism.
enum class TextEffect : std::uint8_t {
  tp_overlap,
  no_overlap,
  dedup,
  capacity,
  skew,
  cp_a2a,
  cp_ring,
  packed
};
constexpr auto enum_names(const TextEffect*) {
  return std::array<std::pair<TextEffect, std::string_view>, 8>{{{TextEffect::tp_overlap, "tp_overlap"},
                                                                 {TextEffect::no_overlap, "no_overlap"},
                                                                 {TextEffect::dedup, "dedup"},
                                                                 {TextEffect::capacity, "capacity"},
                                                                 {TextEffect::skew, "skew"},
                                                                 {TextEffect::cp_a2a, "cp_a2a"},
                                                                 {TextEffect::cp_ring, "cp_ring"},
                                                                 {TextEffect::packed, "packed"}}};
}
struct TextRule {
  std::string match;
  TextEffect set = TextEffect::dedup;
  std::optional<double> value;  // skew: busiest over mean rank; packed: tokens of a document
  std::string source;
};
TW_DESCRIBE(TextRule, match, set, value, source);

struct SourceRules {
  std::string title;
  std::vector<SourceRule> rules;
  std::vector<TextRule> texts;

  const SourceRule& of(const Row& row) const;
  std::vector<TextRule> effects(const Row& row) const;
};
TW_DESCRIBE(SourceRules, title, rules, texts);

SourceRules source_rules_of(const JsonView& file);

}  // namespace tw::validate
