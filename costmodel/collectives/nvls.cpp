// NVLink SHARP: the switches add. derived: a GPU reads bytes/ranks of sums, for which every GPU
// sends all its bytes, and multicasts its sums: bytes*(1 + 1/ranks) on a link in each direction.
// That gives the published rise from 414 GB/s of bus bandwidth at 5 ranks to 473-480 at 8.
#include "costmodel/collectives/algorithm.hpp"

namespace tw::collectives {
namespace {

bool applies(const CollectiveCall& call, const LinkCurves& curves) {
  return curves.nvls && call.kind == Collective::all_reduce && call.links.nodes == 1 && call.links.ranks > 2;
}

int steps(const CollectiveCall&) {
  return 2;
}

const LinkCurve& curve(const CollectiveCall&, const LinkCurves& curves) {
  return curves.nvls_intra;
}

Seconds time(const CollectiveCall& call, const LinkCurves& curves) {
  const LinkCurve& c = curves.nvls_intra;
  const double carried = call.bytes * (1 + 1.0 / call.links.ranks);
  return c.base + ramped(c, Seconds(carried / (c.efficiency * call.links.intra.value)));
}

}  // namespace

extern constinit const Algorithm nvls;
constinit const Algorithm nvls = {
    "nvls", 20, "all-reduce added in the NVLink switches of one node", applies, time, steps, curve};

}  // namespace tw::collectives
