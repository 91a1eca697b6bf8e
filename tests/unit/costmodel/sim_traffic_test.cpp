// What links carry, by hand: who sends what to whom in each exchange, on 2 nodes of 2 and of 4 GPUs.
#include "costmodel/sim/traffic.hpp"

#include <gtest/gtest.h>

#include "costmodel/collectives/algorithm.hpp"

namespace tw {
namespace {

// Rails: a rank's NIC and leaf are those of its place; one pod.
std::vector<Place> nodes_of(std::int32_t nodes, std::int32_t each, std::int32_t nodes_per_pod = 32) {
  std::vector<Place> out;
  for (std::int32_t r = 0; r < nodes * each; ++r) {
    const std::int32_t node = r / each, pod = node / nodes_per_pod;
    out.push_back({node, r, pod * each + r % each, pod});
  }
  return out;
}
struct Expected {
  double inside, outside, uplink;
};
// All ranks alike, each way.
void expect_even(const Cargo& cargo, const std::vector<Place>& places, Expected e) {
  const std::vector<RankTraffic> traffic = traffic_of(cargo, places, {});
  for (const RankTraffic& t : traffic) {
    EXPECT_DOUBLE_EQ(t.inside.out, e.inside);
    EXPECT_DOUBLE_EQ(t.inside.in, e.inside);
    EXPECT_DOUBLE_EQ(t.outside.out, e.outside);
    EXPECT_DOUBLE_EQ(t.outside.in, e.outside);
    EXPECT_DOUBLE_EQ(t.uplink.out, e.uplink);
    EXPECT_DOUBLE_EQ(t.uplink.in, e.uplink);
  }
}

// 1200 bytes of each of ranks 0, 1 | 2, 3. Gather: two rings of 600 (0-1-3-2 and 1-0-2-3); a rank sends 3/4
// of 600 in each, in one to its neighbour, in the other to the other node. All-to-all: 300 to each rank;
// direct, 0 sends 300 to 1, and 300 to 2 on its rail and 300 to 3 across rails. Node first: 0 sends 1 what is
// for 1 and for 3, and to 2 its own 300 and those of 1. Rail: 0 sends 2 what is for 2 and for 3, and 1 its
// own 300 and those from 2. Two copies of a token lie on the other node with 1 - 1/4: 600 tokens' bytes, 450.
TEST(SimulatorsTraffic, TwoNodesOfTwo) {
  const std::vector<Place> places = nodes_of(2, 2);
  expect_even({1200, Traffic::round}, places, {450, 450, 0});
  expect_even({1200, Traffic::twice_round}, places, {900, 900, 0});
  expect_even({1200, Traffic::direct}, places, {300, 600, 300});
  expect_even({1200, Traffic::two_level}, places, {600, 600, 0});
  expect_even({1200, Traffic::rail}, places, {600, 600, 0});
  expect_even({1200, Traffic::dedup, 2}, places, {600, 450, 0});
  // Of 1.5 nodes that a token would reach one is allowed: a third less.
  expect_even({1200, Traffic::dedup, 2, 1}, places, {600, 300, 0});
}

// 1600 bytes of each of 8, 200 for each rank. Four rings of 400, 7/8 of which each rank sends, three of them
// inside. Node first and rail: to each of three neighbours 200 of its own and 200 that are passed on. Four
// copies: 400 tokens' bytes, 15/16 of them go to the other node.
TEST(SimulatorsTraffic, TwoNodesOfFour) {
  const std::vector<Place> places = nodes_of(2, 4);
  expect_even({1600, Traffic::round}, places, {1050, 350, 0});
  expect_even({1600, Traffic::twice_round}, places, {2100, 700, 0});
  expect_even({1600, Traffic::direct}, places, {600, 800, 600});
  expect_even({1600, Traffic::two_level}, places, {1200, 800, 0});
  expect_even({1600, Traffic::rail}, places, {1200, 800, 0});
  expect_even({1600, Traffic::dedup, 4}, places, {1200, 375, 0});
}

// Each to the next: inside but from 1 to 2 and from 3 to 0.
TEST(SimulatorsTraffic, TheNextRank) {
  const std::vector<RankTraffic> t = traffic_of({1200, Traffic::next}, nodes_of(2, 2), {});
  EXPECT_EQ(t[0].inside.out, 1200);
  EXPECT_EQ(t[0].outside.out, 0);
  EXPECT_EQ(t[0].outside.in, 1200);
  EXPECT_EQ(t[1].inside.out, 0);
  EXPECT_EQ(t[1].outside.out, 1200);
}

// Two nodes to a pod: of four nodes in a ring, 1 and 3 send to the other pod.
TEST(SimulatorsTraffic, UplinksBetweenPodsOnly) {
  const std::vector<RankTraffic> t = traffic_of({800, Traffic::round}, nodes_of(4, 2, 2), {});
  for (const std::size_t rank : {0u, 1u, 4u, 5u}) EXPECT_EQ(t[rank].uplink.out, 0);
  for (const std::size_t rank : {2u, 3u, 6u, 7u}) EXPECT_EQ(t[rank].uplink.out, 350);
  // Rails of an all-to-all: 100 for each of the four ranks of two nodes in the other pod.
  expect_even({800, Traffic::rail}, nodes_of(4, 2, 2), {400, 600, 400});
}

// All send to rank 3 alone. Direct and node first: all comes in by NIC 3, and node first it leaves by NIC 1
// alone; by rails half of it comes in by NIC 2 and over NVLink.
TEST(SimulatorsTraffic, ToOneRank) {
  SendMatrix to(16, 0);
  for (const std::size_t from : {0u, 1u, 2u, 3u}) to[from * 4 + 3] = 1;
  const std::vector<Place> places = nodes_of(2, 2);
  const auto direct = traffic_of({1200, Traffic::direct}, places, to);
  EXPECT_EQ(direct[3].outside.in, 2400);
  EXPECT_EQ(direct[3].inside.in, 1200);
  EXPECT_EQ(direct[0].outside.out, 1200);
  EXPECT_EQ(direct[0].inside.out, 0);
  const auto node_first = traffic_of({1200, Traffic::two_level}, places, to);
  EXPECT_EQ(node_first[0].inside.out, 1200);
  EXPECT_EQ(node_first[0].outside.out, 0);
  EXPECT_EQ(node_first[1].outside.out, 2400);
  EXPECT_EQ(node_first[3].outside.in, 2400);
  const auto rail = traffic_of({1200, Traffic::rail}, places, to);
  EXPECT_EQ(rail[0].outside.out, 1200);
  EXPECT_EQ(rail[2].outside.in, 1200);
  EXPECT_EQ(rail[2].inside.out, 2400);
  EXPECT_EQ(rail[3].outside.in, 1200);
  EXPECT_EQ(rail[3].inside.in, 2400);
  // Both copies of every token go to one node: half of them travel.
  EXPECT_EQ(traffic_of({1200, Traffic::dedup, 2}, places, to)[0].outside.out, 600);
}

// What all ranks send of one exchange is nccl-tests' factor times the bytes (doc/PERFORMANCE.md), however
// they are spread over nodes; forwarding adds what is passed on. What is sent arrives.
TEST(SimulatorsTraffic, IsNcclTestsFactor) {
  for (const std::int32_t nodes : {1, 2, 3, 5}) {
    for (const std::int32_t each : {1, 2, 4, 8}) {
      const std::int32_t n = nodes * each;
      if (n == 1) continue;
      const std::vector<Place> places = nodes_of(nodes, each, 2);
      struct Kind {
        Traffic pattern;
        Collective kind;
      };
      for (const Kind& k : {Kind{Traffic::round, Collective::all_gather},
                            {Traffic::round, Collective::reduce_scatter},
                            {Traffic::twice_round, Collective::all_reduce},
                            {Traffic::direct, Collective::all_to_all},
                            {Traffic::two_level, Collective::all_to_all},
                            {Traffic::rail, Collective::all_to_all}}) {
        double sent = 0, arrived = 0, up = 0, down = 0;
        for (const RankTraffic& t : traffic_of({1 << 20, k.pattern}, places, {})) {
          sent += t.inside.out + t.outside.out, arrived += t.inside.in + t.outside.in;
          up += t.uplink.out, down += t.uplink.in;
        }
        const bool forwards = k.pattern == Traffic::two_level || k.pattern == Traffic::rail;
        const double passed_on = forwards ? (1.0 * (nodes - 1) / nodes) * (each - 1) / each : 0;
        EXPECT_NEAR(sent, n * (bus_factor(k.kind, n) + passed_on) * (1 << 20), 1) << nodes << " of " << each;
        EXPECT_NEAR(sent, arrived, 1);
        EXPECT_NEAR(up, down, 1);
      }
    }
  }
}

}  // namespace
}  // namespace tw
