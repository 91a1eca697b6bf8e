// A few seconds of what a calibration takes a minute for: whether links and ranks are what they were.
#pragma once

#include "costmodel/quick_rows.hpp"
#include "kernels/backend/messages.hpp"

namespace tw {

// Called by all ranks; each has the whole answer. seconds: of exchanges, and of the ranks' own work, each.
QuickRows quick_rows(Messages& messages, std::int32_t ranks, double seconds);

}  // namespace tw
