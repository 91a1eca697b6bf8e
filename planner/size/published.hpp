// Published runs of the same model on the same number of the same GPU, beside the rows of a size.
#pragma once

#include "planner/problem.hpp"
#include "reports/size_result.hpp"

namespace tw {

// By index of the rows. Where the run states its layout, that is predicted with the framework and the
// precision that it names.
std::vector<std::pair<std::size_t, PublishedBeside>> published_beside(const Inputs& inputs,
                                                                      const SizeResult& result);

}  // namespace tw
