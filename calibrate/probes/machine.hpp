// Plain costs of a CPU machine: copies, and messages between two ranks.
#pragma once

#include <vector>

#include "calibrate/fit/rows.hpp"
#include "kernels/backend/messages.hpp"

namespace tw {

// memcpy of blocks far larger than the caches, bytes read and written.
KernelRow copy_row();
// One way, between the first and the last rank, half a round trip; on every rank.
std::vector<CollectiveRow> send_rows(Messages& messages, std::int32_t ranks);

}  // namespace tw
