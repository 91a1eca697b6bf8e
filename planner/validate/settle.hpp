// The nearest legal reading of a published layout: canonical forms, uneven pipelines as explicit
// splits, expert groups that fit the stage.
#pragma once

#include "costmodel/layout/layout.hpp"
#include "planner/validate/row.hpp"

namespace tw::validate {

struct SettleAsk {
  const Job& job;
  const RowLayout& said;
  double recomputed_share = 0;  // of each stage's layers, where full recomputation stands for a part
  std::vector<std::int32_t> stage_ends = {};  // as Abilities has them
};
void settle(Layout& layout, const SettleAsk& ask, std::vector<std::string>& near);

// A list of modules cut into equal stages, the first ones one longer: layers per stage where `ends` holds
// how many modules stand before and after the layers.
std::vector<std::int32_t> even_list_split(std::int32_t layers, std::int32_t stages,
                                          const std::vector<std::int32_t>& ends);

// Layers per chunk as even as possible, embedding and head counted as a layer each; only these two
// chunks may be without layers.
std::vector<std::int32_t> near_even_split(std::int32_t layers, std::int32_t chunks, std::int32_t mtp = 0);

}  // namespace tw::validate
