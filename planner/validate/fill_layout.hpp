// The layouts that a row may have run with: one where it says everything, every legal choice of what
// a tuned run left unsaid otherwise. Readings that are near rather than exact are listed in `filled`.
#pragma once

#include "costmodel/layout/layout.hpp"
#include "costmodel/profile.hpp"
#include "costmodel/program/work.hpp"
#include "planner/validate/row.hpp"
#include "planner/validate/source_rules.hpp"

namespace tw::validate {

struct LayoutAsk {
  const Row& row;
  const SourceRule& rule;
  const std::vector<TextRule>& effects;
  const Profile& profile;
  const Job& job;
  bool blackwell = false;
};

struct FilledLayouts {
  std::vector<Layout> layouts;  // legal, without repetition
  bool exact = true;            // false: the row left something open
  std::string why_not;
};
FilledLayouts fill_layouts(const LayoutAsk& ask, std::vector<std::string>& filled);

// Sequences per step: said, or from micro-batches; 0 where unknown.
std::int64_t global_batch_of(const Row& row);

}  // namespace tw::validate
