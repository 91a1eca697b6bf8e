// The layouts that the equality suite runs on a number of ranks: from all legal ones, few that pair every
// value of every option with every value of every other, as far as any legal layout has both.
#pragma once

#include "tests/mpi/support.hpp"

namespace tw::train {

struct Chosen {
  std::vector<Case> cases;
  std::int64_t legal = 0;       // with up to four sequences a micro-batch
  std::int64_t candidates = 0;  // every so manieth of them, which were looked at
  std::size_t pairs = 0;        // of values, that any candidate has
  std::size_t paired = 0;       // that the chosen ones have
};
// As many as the pairs need and at most `limit`, and `more` others spread over the candidates.
Chosen choose_cases(std::int32_t ranks, std::size_t limit, std::size_t more);
// Where a rule of one model meets a rule of one option: padding beyond the last rank's vocabulary, a
// tied table on the stages of every schedule that splits backwards or holds chunks twice.
std::vector<Case> special_cases(std::int32_t ranks);  // 2 or 4, else none

}  // namespace tw::train
