// Steps of a Program that a GPU has nothing to do for where parameters are cut: gathers of what no operation
// reads before it is released (a table in the backward of its embedding), and releases of what is gathered
// again at once (the head between its forward and its backward) with those gathers.
#pragma once

#include <vector>

#include "train/view.hpp"

namespace tw::train {

std::vector<bool> idle_traffic(const View& view);  // by step

}  // namespace tw::train
