#include "planner/validate/source_rules.hpp"

#include <algorithm>

#include "planner/validate/words.hpp"
#include "topology/check.hpp"

namespace tw::validate {

SourceRules source_rules_of(const JsonView& file) {
  auto rules = read<SourceRules>(file);
  TW_CHECK(!rules.rules.empty() && rules.rules.back().match.empty());
  return rules;
}

const SourceRule& SourceRules::of(const Row& row) const {
  const std::string zero = mentions(row.layout.zero, "3") ? " zero-3" : "";
  const std::string text =
      lower(row.source + " " + row.id + " " + row.layout.framework + " " + row.notes) + zero;
  const auto all_in = [&](const SourceRule& rule) {
    return std::all_of(rule.match.begin(), rule.match.end(),
                       [&](const std::string& word) { return text.find(word) != std::string::npos; });
  };
  return *std::find_if(rules.begin(), rules.end(), all_in);
}

std::vector<TextRule> SourceRules::effects(const Row& row) const {
  std::vector<TextRule> out;
  for (const TextRule& rule : texts) {
    if (mentions(row.notes, rule.match) || mentions(row.id, rule.match)) out.push_back(rule);
  }
  return out;
}

}  // namespace tw::validate
