// The layouts that the equality suite runs on a number of ranks: from all legal ones, few that pair every
// value of every option with every value of every other, as far as any legal layout has both.
#pragma once

#include "tests/mpi/support.hpp"

namespace tw::train {

struct Chosen {
  std::vector<Case> cases;
  std::int64_t legal = 0;  // layouts with up to four sequences a micro-batch
  std::size_t pairs = 0;   // of values of two options that any of them has
  std::size_t fresh = 0;   // of these, that no layout of fewer ranks has (more than four ranks alone)
  std::size_t paired = 0;  // that the chosen ones have
};
// The fresh pairs all, the others with at most `limit` layouts, and `more` spread over the rest.
Chosen choose_cases(std::int32_t ranks, std::size_t limit, std::size_t more);
// Where a rule of one model meets a rule of one option: padding beyond the last rank's vocabulary, a
// tied table on the stages of every schedule that splits backwards or holds chunks twice.
std::vector<Case> special_cases(std::int32_t ranks);  // 2 or 4, else none
// The load balance of whole micro-batches, which are those of one rank with as many sequences each.
std::vector<Case> pooled_cases(std::int32_t ranks);  // 4, else none

}  // namespace tw::train
