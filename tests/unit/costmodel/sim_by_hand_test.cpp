// What the simulator's engine does, derived by hand: who waits for whom, what runs beside what, shared links.
#include <gtest/gtest.h>

#include <map>

#include "costmodel/sim/run.hpp"

namespace tw {
namespace {

// Two ranks, their lists written out.
SimOp work(SimTime ticks, std::int8_t group = -1) {
  SimOp op;
  op.work = ticks, op.listed = true;
  if (group >= 0) op.groups.push_back(group);
  return op;
}
struct HandCase {
  std::vector<StageCode> code = std::vector<StageCode>(2);  // of two stages of one rank each
  Players players;
  std::map<const SimOp*, LinkShares> shares;
  std::size_t links = 0;
  std::vector<double> slow;

  HandCase() {
    players.rank = {Rank(0), Rank(1)}, players.of_rank = {0, 1}, players.stage = {0, 1};
    players.stands_for = {1, 1}, players.peer = {{0, 1}, {0, 1}};
    players.kinds = {{{0, 0}, {0, 2}, {0, 1}, {0}}};  // one group of both
  }
  std::vector<SimOp>& lane(std::size_t stage, Lane which) {
    return code[stage].lanes[static_cast<std::size_t>(which)];
  }
  RunResult run() const {
    RunInput in;
    in.code = code, in.players = &players, in.slow = slow, in.links = links;
    static const LinkShares none;
    if (links > 0)
      in.shares = [this](const SimOp& op, std::int32_t, std::int32_t, SimTime) -> const LinkShares& {
        const auto found = shares.find(&op);
        return found == shares.end() ? none : found->second;
      };
    return run_simulation(in);
  }
  SimTime end() const { return run().end; }
};

// Compute of 100, then an exchange of both ranks of 50, then compute of 10 that waits for it.
HandCase exchange_between() {
  HandCase c;
  for (const std::size_t stage : {0u, 1u}) {
    c.lane(stage, Lane::compute) = {work(100), work(10)};
    c.lane(stage, Lane::compute)[1].need = {1, 1};
    c.lane(stage, Lane::network) = {work(50, 0)};
    c.lane(stage, Lane::network)[0].need = {1};
  }
  return c;
}

TEST(SimulatorByHand, AnExchangeWaitsForTheSlowest) {
  HandCase c = exchange_between();
  EXPECT_EQ(c.end(), 160);
  c.slow = {1, 1.2};  // 120 + 50 + 12
  const RunResult run = c.run();
  EXPECT_EQ(run.end, 182);
  EXPECT_EQ(run.players[0].end, 180);
  EXPECT_EQ(run.players[0].terms[static_cast<std::size_t>(Term::gemm)],
            110 + 70);  // the exchange is called gemm too
}

// Exchanges of the ranks by themselves, 100 each at full rate, over one link.
HandCase two_over_one_link(double first, double second) {
  HandCase c;
  c.links = 1;
  c.lane(0, Lane::network) = {work(100)}, c.lane(1, Lane::network) = {work(100)};
  c.shares[&c.lane(0, Lane::network)[0]] = {{0, first}},
                      c.shares[&c.lane(1, Lane::network)[0]] = {{0, second}};
  return c;
}

TEST(SimulatorByHand, LinksAreSharedMaxMin) {
  // Each asks for the whole link: half the rate, 200; contention off, 100.
  HandCase whole = two_over_one_link(1, 1);
  EXPECT_EQ(whole.end(), 200);
  whole.links = 0;
  EXPECT_EQ(whole.end(), 100);
  // The link doubled: each asks for half.
  EXPECT_EQ(two_over_one_link(0.5, 0.5).end(), 100);
  // 0.3 is less than a half and gets it; the other asks for 1 and gets 0.7 until the first has ended at 100:
  // 70 of 100 are done, the rest goes at full rate: 130.
  const RunResult uneven = two_over_one_link(0.3, 1).run();
  EXPECT_EQ(uneven.players[0].end, 100);
  EXPECT_EQ(uneven.players[1].end, 130);
  // Both ask for 0.8: 0.5 each, at 5/8 of their rate.
  EXPECT_EQ(two_over_one_link(0.8, 0.8).end(), 160);
}

// The second begins at 40: until then the first has 40 done; both at half rate; the first ends at 40 + 120 =
// 160, when the second has 60 done and goes on at full rate: 200.
TEST(SimulatorByHand, ALaterExchangeTakesHalfOfTheLinkFromThen) {
  HandCase c = two_over_one_link(1, 1);
  c.lane(1, Lane::compute) = {work(40)};
  c.lane(1, Lane::network)[0].need = {1};
  const RunResult run = c.run();
  EXPECT_EQ(run.players[0].end, 160);
  EXPECT_EQ(run.players[1].end, 200);
}

// Compute of 100 beside an exchange of 60 that takes a fifth of it: in 60 ticks 48 are done, 52 are left:
// 112.
TEST(SimulatorByHand, ComputeIsSlowerBesideAnExchange) {
  HandCase c;
  c.lane(0, Lane::compute) = {work(100)};
  c.lane(0, Lane::network) = {work(60)};
  c.lane(0, Lane::network)[0].lost = kFull / 5;
  EXPECT_EQ(c.end(), 112);
}

// A product of 100 that yields in its last 20 only: an exchange of 50 that begins with it, and is listed
// before it, gets 20 beside it and the rest after it: 130. One that was there before it, with 50 left, holds
// the product back by 30 instead.
TEST(SimulatorByHand, AProductYieldsInItsLastPart) {
  HandCase c;
  c.lane(0, Lane::compute) = {work(100)};
  c.lane(0, Lane::compute)[0].yields = kFull / 5, c.lane(0, Lane::compute)[0].step = 1;
  c.lane(0, Lane::network) = {work(50)};
  c.lane(0, Lane::network)[0].step = 0;
  EXPECT_EQ(c.end(), 130);
  c.lane(0, Lane::network)[0].work = 60;
  c.lane(0, Lane::compute) = {work(10), c.lane(0, Lane::compute)[0]};
  const RunResult later = c.run();  // product from 10 on, 50 left: 100 + 30 longer
  EXPECT_EQ(later.end, 140);
}

// A message of 30 after compute of 100; the other stage computes 50 when it has come: 180. Doubled: 195 at
// half.
TEST(SimulatorByHand, AStageWaitsForItsMessage) {
  HandCase c;
  c.lane(0, Lane::compute) = {work(100)};
  SimOp message = work(30);
  message.need = {1}, message.to = 1, message.delivers = 0;
  c.lane(0, Lane::forward_out) = {message};
  c.lane(1, Lane::compute) = {work(50)};
  c.lane(1, Lane::compute)[0].channel = 0, c.lane(1, Lane::compute)[0].arrivals = 1;
  EXPECT_EQ(c.end(), 180);
  c.lane(0, Lane::forward_out)[0].work = 15;
  EXPECT_EQ(c.end(), 165);
}

// The host issues the second computation 70 after the first; it waits for the device after the second, for 5,
// and issues the third 20 later: 0-10, 70-80, 85 + 20 = 105-115.
TEST(SimulatorByHand, ComputeWaitsForTheHost) {
  HandCase c;
  c.lane(0, Lane::compute) = {work(10), work(10), work(10)};
  c.lane(0, Lane::compute)[1].issue = 70;
  c.lane(0, Lane::compute)[2].issue = 20, c.lane(0, Lane::compute)[2].segment = 1;
  c.lane(0, Lane::host) = {work(5)};
  c.lane(0, Lane::host)[0].need = {2}, c.lane(0, Lane::host)[0].issue = 70;
  EXPECT_EQ(c.end(), 115);
}

// A link slowed to half: what asks for all of it asks for twice what is there. Alone: 200. Beside one that
// asks for half: each gets half of the link, the slow one at a quarter of its rate; from 100 on, with 75 to
// do, at a half: 250.
TEST(SimulatorByHand, ASlowedLinkTakesLonger) {
  HandCase alone = two_over_one_link(2, 0);
  EXPECT_EQ(alone.run().players[0].end, 200);
  EXPECT_EQ(alone.run().players[1].end, 100);
  const RunResult beside = two_over_one_link(2, 0.5).run();
  EXPECT_EQ(beside.players[0].end, 250);
  EXPECT_EQ(beside.players[1].end, 100);
}

// Exchanges over link 0, over both, and over link 1 alone: the second gets half of link 0, and so leaves half
// of link 1. One that asks for that half ends at 100, the others at 200; one that asks for all of it at 200
// too.
TEST(SimulatorByHand, TheTightestLinkSetsARate) {
  HandCase c;
  c.links = 2;
  c.lane(0, Lane::network) = {work(100)}, c.lane(0, Lane::state) = {work(100)};
  c.lane(1, Lane::network) = {work(100)};
  c.shares[&c.lane(0, Lane::network)[0]] = {{0, 1}};
  c.shares[&c.lane(0, Lane::state)[0]] = {{0, 1}, {1, 1}};
  c.shares[&c.lane(1, Lane::network)[0]] = {{1, 0.5}};
  EXPECT_EQ(c.run().players[0].end, 200);
  EXPECT_EQ(c.run().players[1].end, 100);
  c.shares[&c.lane(1, Lane::network)[0]] = {{1, 1}};
  EXPECT_EQ(c.run().players[1].end, 200);
}

// States and tokens of one rank over its own port, 0.8 of it each: at 5/8 of their rate, 160.
TEST(SimulatorByHand, StreamsOfARankShareItsPort) {
  HandCase c;
  c.links = 1;
  c.lane(0, Lane::network) = {work(100)}, c.lane(0, Lane::state) = {work(100)};
  c.shares[&c.lane(0, Lane::network)[0]] = {{0, 0.8}};
  c.shares[&c.lane(0, Lane::state)[0]] = {{0, 0.8}};
  EXPECT_EQ(c.end(), 160);
}

// An exchange of 100 under other compute is held from 20 to 50 by one of the network stream: 130.
TEST(SimulatorByHand, WhatRunsAsideGivesWay) {
  HandCase c;
  c.lane(0, Lane::aside) = {work(100)};
  c.lane(0, Lane::compute) = {work(20)};
  c.lane(0, Lane::network) = {work(30)};
  c.lane(0, Lane::network)[0].need = {1};
  EXPECT_EQ(c.end(), 130);
}

// The rank with 60 to do in 100 may take half as long again; not twice.
TEST(SimulatorByHand, ASlowRankWithTimeToSpare) {
  HandCase c = exchange_between();
  c.lane(1, Lane::compute)[0].work = 60;
  c.slow = {1, 1.5};
  EXPECT_EQ(c.run().players[0].end, 160);
  c.slow = {1, 2};  // 120 + 50 + 10
  EXPECT_EQ(c.run().players[0].end, 180);
}

// 1F1B of two stages, three micro-batches, forward 10, backward 20, messages at once. Even: stage 0 runs
// 0-20, 40-70, 70-90, 100-120. The second stage 1.5 times slower: forwards of 15 and backwards of 30 follow
// one another there from 10 on to 145, and the last backward of stage 0 ends at 165.
TEST(SimulatorByHand, ASlowStageOfAPipeline) {
  HandCase c;
  struct Pass {
    SimTime ticks;
    std::int32_t sent, needs;  // message that follows it; messages that must have come
  };
  const auto stage = [&](std::size_t own, Lane out, std::initializer_list<Pass> passes) {
    std::int32_t done = 0;
    for (const Pass& pass : passes) {
      SimOp op = work(pass.ticks);
      if (pass.needs > 0) op.channel = 0, op.arrivals = pass.needs;
      c.lane(own, Lane::compute).push_back(op);
      ++done;
      if (pass.sent == 0) continue;
      SimOp message = work(0);
      message.need = {done}, message.to = static_cast<std::int16_t>(1 - own), message.delivers = 0;
      c.lane(own, out).push_back(message);
    }
  };
  stage(0, Lane::forward_out, {{10, 1, 0}, {10, 1, 0}, {20, 0, 1}, {10, 1, 0}, {20, 0, 2}, {20, 0, 3}});
  stage(1, Lane::backward_out, {{10, 0, 1}, {20, 1, 0}, {10, 0, 2}, {20, 1, 0}, {10, 0, 3}, {20, 1, 0}});
  EXPECT_EQ(c.end(), 120);
  c.slow = {1, 1.5};
  EXPECT_EQ(c.end(), 165);
}

}  // namespace
}  // namespace tw
