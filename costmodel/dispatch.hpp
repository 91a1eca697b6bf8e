// The exchange of routed tokens over a group: what a rank sends on each tier, and how long that takes.
// Direct: every pair of ranks for itself. Node first (two-level; Tutel's 2DH, arXiv 2206.03382, section 3.3):
// within the node, then among the ranks of one place, one after the other. By rails, and once per node
// (dedup; DeepSeek-V3, arXiv 2412.19437, section 3.2.2): to the receiver's node and on over NVLink, both
// under way at once. All but the first send one message per node where direct sends one per rank.
#pragma once

#include "costmodel/collectives/algorithm.hpp"
#include "costmodel/layout/layout.hpp"
#include "costmodel/program/op.hpp"

namespace tw {

// Tokens spread evenly.
TierBytes dispatch_bytes(const DispatchWork& work, const GroupLinks& links, Dispatch how);
Estimate dispatch_time(const Calibration& calibration, const GroupLinks& links, const TierBytes& sent,
                       Dispatch how);

}  // namespace tw
