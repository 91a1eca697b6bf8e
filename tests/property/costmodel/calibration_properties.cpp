#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/unit/costmodel/calibration_fixture.hpp"

namespace tw {
namespace {

using namespace test;

const Calibration& h100() {
  static const Calibration calibration = calibration_of("h100-sxm", kH100);
  return calibration;
}

Collective any_collective() {
  return *rc::gen::element(Collective::all_reduce, Collective::all_gather, Collective::reduce_scatter,
                           Collective::all_to_all, Collective::send);
}

GroupLinks any_links(Collective kind) {
  if (kind == Collective::send) return *rc::gen::element(in_node(2), between(2, 1));
  const int nodes = *rc::gen::element(1, 2, 3, 8, 64), local = *rc::gen::element(2, 4, 8);
  return nodes == 1 ? in_node(local) : between(nodes, local);
}

Bytes any_bytes() {
  return Bytes(*rc::gen::inRange<std::int64_t>(1, std::int64_t{1} << 34));
}

RC_GTEST_PROP(Collective, more_bytes_are_never_faster, ()) {
  const Collective kind = any_collective();
  const GroupLinks links = any_links(kind);
  const Bytes fewer = any_bytes(), more = fewer + any_bytes();
  RC_ASSERT(h100().collective(kind, links, more).time >= h100().collective(kind, links, fewer).time);
}

RC_GTEST_PROP(Collective, more_bandwidth_is_never_slower, ()) {
  const Collective kind = any_collective();
  const GroupLinks links = any_links(kind);
  GroupLinks wider = links;
  wider.intra = links.intra * (1 + *rc::gen::inRange(0, 100) / 50.0);
  wider.inter = links.inter * (1 + *rc::gen::inRange(0, 100) / 50.0);
  const Bytes bytes = any_bytes();
  RC_ASSERT(h100().collective(kind, wider, bytes).time <= h100().collective(kind, links, bytes).time);
}

// Even sizes: an odd n or k is another kernel, and slower than the next larger even one.
RC_GTEST_PROP(Gemm, larger_is_never_faster, ()) {
  const auto size = [] { return 2 * *rc::gen::inRange<std::int64_t>(1, 16384); };
  const GemmShape shape{.m = size(), .n = size(), .k = size()};
  GemmShape larger = shape;
  (*rc::gen::element(&larger.m, &larger.n, &larger.k))[0] += size();
  RC_ASSERT(h100().gemm(larger).time >= h100().gemm(shape).time);
}

RC_GTEST_PROP(GroupedGemm, more_groups_or_rows_are_never_faster, ()) {
  GroupedGemmShape shape{.groups = *rc::gen::inRange<std::int64_t>(1, 256),
                         .rows = static_cast<double>(*rc::gen::inRange(1, 4096)),
                         .n = 2048,
                         .k = 1024};
  const double before = h100().grouped_gemm(shape).time.value;
  if (*rc::gen::arbitrary<bool>()) shape.groups += 1;
  shape.rows += *rc::gen::inRange(0, 512);
  RC_ASSERT(h100().grouped_gemm(shape).time.value >= before);
}

RC_GTEST_PROP(Attention, more_pairs_are_never_faster, ()) {
  AttentionShape shape{
      .batch = 1, .heads = 8, .kv_heads = 8, .q_len = *rc::gen::inRange<std::int64_t>(1, 65536)};
  shape.kv_len = shape.q_len;
  shape.head_dim = shape.value_dim = *rc::gen::element(64, 128, 192);
  shape.backward = *rc::gen::arbitrary<bool>();
  shape.pairs = *rc::gen::inRange(1, 1000000);
  const Seconds before = h100().attention(shape).time;
  shape.pairs += *rc::gen::inRange(1, 1000000);
  RC_ASSERT(h100().attention(shape).time > before);
}

}  // namespace
}  // namespace tw
