// A collective algorithm: what it applies to and what it costs on the links of a group. The
// dispatcher takes the fastest that applies, as NCCL's tuner does.
#pragma once

#include <span>
#include <string_view>

#include "costmodel/curves.hpp"

namespace tw {

// One call: bytes as calibration.hpp defines them per collective.
struct CollectiveCall {
  Collective kind = Collective::all_reduce;
  GroupLinks links;
  double bytes = 0;
  BytesPerSec copy_rate;  // of the GPU's memory: a rank's own part is copied
};

struct Algorithm {
  std::string_view name;
  int order;  // of display
  std::string_view help;
  bool (*applies)(const CollectiveCall& call, const LinkCurves& curves);
  Seconds (*time)(const CollectiveCall& call, const LinkCurves& curves);
  int (*steps)(const CollectiveCall& call);  // messages that must follow one another
  const LinkCurve& (*curve)(const CollectiveCall& call, const LinkCurves& curves);  // for the band
};
std::span<const Algorithm* const> all_collectives();
// nullptr for one rank.
const Algorithm* fastest(const CollectiveCall& call, const LinkCurves& curves);

// Bus bandwidth = factor * bytes / time, nccl-tests doc/PERFORMANCE.md.
double bus_factor(Collective kind, std::int32_t ranks);

// Bytes each rank sends in its node and out of it in an all-to-all.
struct TierBytes {
  double intra = 0, inter = 0;
};
TierBytes all_to_all_bytes(const GroupLinks& links, double bytes);
Seconds pairwise_time(const GroupLinks& links, const TierBytes& sent, const LinkCurves& curves);

}  // namespace tw
