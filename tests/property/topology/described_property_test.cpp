#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>

#include "topology/cluster.hpp"
#include "topology/units.hpp"

namespace tw {
namespace {

// Any double from 1e-12 to 1e21, every digit of it, or zero.
double any_magnitude() {
  const auto fraction = *rc::gen::inRange<std::int64_t>(0, std::int64_t{1} << 52);
  const double mantissa = 1 + static_cast<double>(fraction) * 0x1p-52;
  const int exponent = *rc::gen::inRange(-40, 70);
  return *rc::gen::inRange(0, 20) == 0 ? 0 : std::ldexp(mantissa, exponent);
}

// Bare numbers in files stay within int64.
double any_plain_number() {
  return std::min(any_magnitude(), 0x1p62);
}

template <class Q>
void reads_back() {
  const Q value(any_magnitude());
  const Parsed<Q> parsed = parse_unit<Q>(to_string(value));
  RC_ASSERT(parsed.value.has_value());
  RC_ASSERT(*parsed.value == value);
}

RC_GTEST_PROP(UnitsProperty, SecondsReadBack, ()) {
  reads_back<Seconds>();
}
RC_GTEST_PROP(UnitsProperty, BytesPerSecReadBack, ()) {
  reads_back<BytesPerSec>();
}
RC_GTEST_PROP(UnitsProperty, FlopsPerSecReadBack, ()) {
  reads_back<FlopsPerSec>();
}
RC_GTEST_PROP(UnitsProperty, FlopsReadBack, ()) {
  reads_back<Flops>();
}
RC_GTEST_PROP(UnitsProperty, DollarsReadBack, ()) {
  reads_back<Dollars>();
}
RC_GTEST_PROP(UnitsProperty, DollarsPerSecReadBack, ()) {
  reads_back<DollarsPerSec>();
}
RC_GTEST_PROP(UnitsProperty, WattsReadBack, ()) {
  reads_back<Watts>();
}

RC_GTEST_PROP(UnitsProperty, BytesReadBackExactly, ()) {
  const std::int64_t whole = *rc::gen::inRange<std::int64_t>(0, std::int64_t{1} << 62);
  const Bytes value(whole >> *rc::gen::inRange(0, 62));
  const Parsed<Bytes> parsed = parse_unit<Bytes>(to_string(value));
  RC_ASSERT(parsed.value.has_value());
  RC_ASSERT(*parsed.value == value);
}

RC_GTEST_PROP(ClusterProperty, JsonReadsBack, ()) {
  Cluster cluster;
  cluster.title = *rc::gen::container<std::string>(rc::gen::inRange<char>(32, 127));
  cluster.gpu = "h100-sxm";
  cluster.gpus = *rc::gen::positive<std::int32_t>();
  const auto link =
      *rc::gen::element(NodeLink::nvswitch, NodeLink::nvlink_mesh, NodeLink::pcie, NodeLink::host);
  cluster.node = {*rc::gen::arbitrary<std::int32_t>(),
                  link,
                  *rc::gen::arbitrary<std::int32_t>(),
                  *rc::gen::arbitrary<std::int32_t>(),
                  BytesPerSec(any_magnitude()),
                  Seconds(any_magnitude()),
                  *rc::gen::arbitrary<std::vector<std::int32_t>>()};
  cluster.network = {*rc::gen::arbitrary<bool>(), *rc::gen::arbitrary<std::int32_t>(), any_plain_number(),
                     Seconds(any_magnitude())};
  const auto faults = *rc::gen::inRange(0, 4);
  for (int i = 0; i < faults; ++i) {
    cluster.faults.value.push_back(
        {*rc::gen::element(FaultKind::nic, FaultKind::leaf_uplink, FaultKind::nvswitch),
         *rc::gen::arbitrary<std::int32_t>(), i, any_plain_number()});
  }
  RC_ASSERT(read<Cluster>(parse_json(to_json(cluster).dump(), "f")) == cluster);
}

}  // namespace
}  // namespace tw
