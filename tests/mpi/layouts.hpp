// The layouts that the equality suite runs on a number of ranks: from all legal ones, few that pair every
// value of every option with every value of every other, as far as any legal layout has both.
#pragma once

#include "tests/mpi/support.hpp"

namespace tw::train {

struct Chosen {
  std::vector<Case> cases;
  std::int64_t legal = 0;  // candidates looked at
  std::size_t pairs = 0;   // of values, that any candidate has
  std::size_t paired = 0;  // that the chosen ones have
};
// As many as the pairs need and at most `limit`, and `more` others spread over the candidates.
Chosen choose_cases(std::int32_t ranks, std::size_t limit, std::size_t more);

}  // namespace tw::train
