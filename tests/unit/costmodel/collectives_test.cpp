#include <gtest/gtest.h>

#include "costmodel/collectives/algorithm.hpp"
#include "tests/unit/costmodel/calibration_fixture.hpp"

namespace tw {
namespace {

using test::between;
using test::in_node;

// Curves without ramp (ramp 0: wire time alone), hop 1 us, base 10 us, half of the link reached.
LinkCurve plain() {
  LinkCurve curve;
  curve.efficiency = 0.5;
  curve.power = 0.5;
  curve.base = microseconds(10);
  curve.hop = microseconds(1);
  return curve;
}
LinkCurves plain_curves() {
  LinkCurves curves;
  for (LinkCurve* each :
       {&curves.ring_intra, &curves.nvls_intra, &curves.pairwise_intra, &curves.send_intra,
        &curves.ring_inter, &curves.tree_inter, &curves.pairwise_inter, &curves.send_inter}) {
    *each = plain();
  }
  return curves;
}

double us(const CollectiveCall& call, const char* name, const LinkCurves& curves = plain_curves()) {
  for (const Algorithm* each : all_collectives()) {
    if (each->name == name) return in_us(each->time(call, curves));
  }
  ADD_FAILURE() << "no algorithm " << name;
  return 0;
}

CollectiveCall call(Collective kind, const GroupLinks& links, double bytes) {
  return {kind, links, bytes, BytesPerSec(2e12)};
}

// nccl-tests doc/PERFORMANCE.md: all-reduce 2(n-1)/n, all-gather and friends (n-1)/n, send 1.
TEST(Collectives, bus_factors) {
  EXPECT_DOUBLE_EQ(bus_factor(Collective::all_reduce, 8), 1.75);
  EXPECT_DOUBLE_EQ(bus_factor(Collective::all_reduce, 2), 1.0);
  EXPECT_DOUBLE_EQ(bus_factor(Collective::all_gather, 8), 0.875);
  EXPECT_DOUBLE_EQ(bus_factor(Collective::reduce_scatter, 4), 0.75);
  EXPECT_DOUBLE_EQ(bus_factor(Collective::all_to_all, 16), 0.9375);
  EXPECT_DOUBLE_EQ(bus_factor(Collective::send, 2), 1.0);
}

// 4 ranks, 360 MB, 450 GB/s at one half = 225 GB/s. All-reduce: 1.5*360e6/225e9 = 2400 us, plus base
// 10 and 2*(4-1) hops. All-gather: 0.75*360e6/225e9 = 1200 us, 10 + 3, and its own 90 MB read and
// written at 2 TB/s: 90 us.
TEST(Collectives, ring_in_a_node) {
  EXPECT_NEAR(us(call(Collective::all_reduce, in_node(4), 360e6), "ring"), 2416, 1e-6);
  EXPECT_NEAR(us(call(Collective::all_gather, in_node(4), 360e6), "ring"), 1303, 1e-6);
  EXPECT_NEAR(us(call(Collective::reduce_scatter, in_node(4), 360e6), "ring"), 1303, 1e-6);
}

// 2 nodes of 2 ranks: the network offers 2*50 GB/s at one half = 50, below NVLink's 225: all-reduce
// 1.5*100e6/50e9 = 3000 us; latency 10 + 2*(4-2)*1 + 2*(2-1)*(1 + 1.3) = 18.6.
TEST(Collectives, ring_between_nodes) {
  EXPECT_NEAR(us(call(Collective::all_reduce, between(2, 2), 100e6), "ring"), 3018.6, 1e-6);
}

// 8 ranks: (1 + 1/8)*400e6/225e9 = 2000 us + 10.
TEST(Collectives, nvls) {
  EXPECT_NEAR(us(call(Collective::all_reduce, in_node(8), 400e6), "nvls"), 2010, 1e-6);
}

// 2 nodes of 8: bytes once through 8*50/2 = 200 GB/s: 400e6 -> 2000 us; inside a chain carries 2*400e6 at
// 225 GB/s: 3556 us decides; with NVLS 2000 us, so the network's 2000 decides. Latency: depth 1, two
// steps of 1 + 1.3 us, base 10. 4 nodes carry twice the bytes: 4000 us, four steps.
TEST(Collectives, tree) {
  LinkCurves nvls = plain_curves();
  nvls.nvls = true;
  EXPECT_NEAR(us(call(Collective::all_reduce, between(2, 8), 400e6), "tree"), 800e6 / 225e9 * 1e6 + 14.6,
              1e-6);
  EXPECT_NEAR(us(call(Collective::all_reduce, between(2, 8), 400e6), "tree", nvls), 2014.6, 1e-6);
  EXPECT_NEAR(us(call(Collective::all_reduce, between(4, 8), 400e6), "tree", nvls), 4019.2, 1e-6);
}

// 16 ranks on 2 nodes, 160 MB: 10 MB to each of 7 neighbours (70e6/225e9 = 311 us) and of 8 outside
// (80e6 / (50/2) GB/s = 3200 us, base 10, 1.3 of latency, 8 hops): the slower decides.
TEST(Collectives, pairwise) {
  EXPECT_NEAR(us(call(Collective::all_to_all, between(2, 8), 160e6), "pairwise"), 3219.3, 1e-6);
  EXPECT_NEAR(us(call(Collective::all_to_all, in_node(8), 180e6), "pairwise"), 22.5e6 * 7 / 225e9 * 1e6 + 17,
              1e-6);
  const TierBytes sent = all_to_all_bytes(between(2, 8), 160e6);
  EXPECT_DOUBLE_EQ(sent.intra, 70e6);
  EXPECT_DOUBLE_EQ(sent.inter, 80e6);
}

TEST(Collectives, direct) {
  EXPECT_NEAR(us(call(Collective::send, in_node(2), 225e6), "direct"), 1011, 1e-6);
  EXPECT_NEAR(us(call(Collective::send, between(2, 1), 25e6), "direct"), 1012.3, 1e-6);
}

// 1 KiB takes 5 us, 3 KiB 7, 4 KiB 20 (another protocol): 2 KiB lies half-way, 3.5 KiB too; below the first
// size its time, above the last the last piece goes on: 13 us for each KiB.
TEST(Collectives, tables) {
  ExchangeTable table;
  table.collective = Collective::all_gather, table.ranks = 2, table.link = BytesPerSec(450e9);
  table.sizes = {Bytes(1024), Bytes(3072), Bytes(4096)};
  table.times = {microseconds(5), microseconds(7), microseconds(20)};
  EXPECT_NEAR(in_us(table_time(table, 512)), 5, 1e-12);
  EXPECT_NEAR(in_us(table_time(table, 1024)), 5, 1e-12);
  EXPECT_NEAR(in_us(table_time(table, 2048)), 6, 1e-12);
  EXPECT_NEAR(in_us(table_time(table, 3584)), 13.5, 1e-12);
  EXPECT_NEAR(in_us(table_time(table, 4096)), 20, 1e-12);
  EXPECT_NEAR(in_us(table_time(table, 6144)), 46, 1e-12);

  LinkCurves curves = plain_curves();
  curves.tables = std::vector<ExchangeTable>{table};
  EXPECT_EQ(table_for(curves, Collective::all_gather, in_node(2)), &curves.tables->front());
  EXPECT_EQ(table_for(curves, Collective::all_reduce, in_node(2)), nullptr);
  EXPECT_EQ(table_for(curves, Collective::all_gather, in_node(4)), nullptr);
  EXPECT_EQ(table_for(curves, Collective::all_gather, in_node(2, 400)), nullptr);  // slower links
  EXPECT_EQ(table_for(curves, Collective::all_gather, between(2, 1)), nullptr);
  curves.tables.value[0].nodes = 2, curves.tables.value[0].link = BytesPerSec(50e9);
  EXPECT_NE(table_for(curves, Collective::all_gather, between(2, 1)), nullptr);
  EXPECT_EQ(table_for(curves, Collective::all_gather, in_node(2)), nullptr);
  EXPECT_EQ(table_for(curves, Collective::all_gather, between(2, 2)), nullptr);
  curves.tables.value[0].nodes = 1, curves.tables.value[0].link = BytesPerSec(450e9);
  curves.tables.value[0].collective = Collective::send;  // a message has two ends in any group
  EXPECT_NE(table_for(curves, Collective::send, in_node(4)), nullptr);
}

// ramp 100 us, power 1/2, wire 400 us: 400*(1 + sqrt(100/400)) = 600.
TEST(Collectives, ramp) {
  LinkCurve curve = plain();
  curve.ramp = microseconds(100);
  EXPECT_NEAR(in_us(ramped(curve, microseconds(400))), 600, 1e-9);
  EXPECT_EQ(ramped(curve, Seconds(0)).value, 0);
}

TEST(Collectives, the_fastest_is_taken) {
  LinkCurves curves = plain_curves();
  EXPECT_EQ(fastest(call(Collective::all_reduce, in_node(8), 1e9), curves)->name, "ring");
  curves.nvls = true;
  EXPECT_EQ(fastest(call(Collective::all_reduce, in_node(8), 1e9), curves)->name, "nvls");
  EXPECT_EQ(fastest(call(Collective::all_gather, in_node(8), 1e9), curves)->name, "ring");
  EXPECT_EQ(fastest(call(Collective::all_reduce, in_node(1), 1e9), curves), nullptr);
}

// 64 nodes of 8 ranks: the ring waits for 2*511 messages, the tree for 12: short messages go by tree.
TEST(Collectives, short_messages_of_large_groups_take_the_tree) {
  const LinkCurves curves = plain_curves();
  EXPECT_EQ(fastest(call(Collective::all_reduce, between(64, 8), 1024), curves)->name, "tree");
}

}  // namespace
}  // namespace tw
