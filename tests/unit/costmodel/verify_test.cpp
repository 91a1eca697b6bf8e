// Broken Programs, one by one, and what the verifier says of each.
#include "costmodel/program/verify.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>

#include "tests/support/small_models.hpp"

namespace tw {
namespace {

using Test = std::function<bool(const Step&)>;

// The steps of a sound Program, to be broken on one rank. Free lists are the rank's own.
class Broken {
 public:
  Broken(std::string_view layout, std::int32_t gpus, bool experts = false, bool tied = false)
      : program_(small_input(small_model(experts, 4, tied), layout, gpus, 16)), steps_(steps_of(program_)) {
    EXPECT_TRUE(verify(steps_).empty());
  }
  std::vector<RankStep>& of(std::int32_t rank) { return steps_.ranks[static_cast<std::size_t>(rank)].steps; }
  std::size_t find(std::int32_t rank, const Test& test, std::size_t nth = 0) {
    const std::vector<RankStep>& all = of(rank);
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (test(all[i].step) && nth-- == 0) return i;
    }
    ADD_FAILURE() << "no such step";
    return 0;
  }
  void drop(std::int32_t rank, std::size_t step) {
    of(rank).erase(of(rank).begin() + static_cast<std::ptrdiff_t>(step));
  }
  void repeat(std::int32_t rank, std::size_t step) {
    const RankStep again = of(rank)[step];
    of(rank).insert(of(rank).begin() + static_cast<std::ptrdiff_t>(step), again);
  }
  void move(std::int32_t rank, std::size_t from, std::size_t to) {
    std::vector<RankStep>& all = of(rank);
    const auto at = [&](std::size_t i) { return all.begin() + static_cast<std::ptrdiff_t>(i); };
    if (from < to)
      std::rotate(at(from), at(from + 1), at(to + 1));
    else
      std::rotate(at(to), at(from), at(from + 1));
  }
  void swap(std::int32_t rank, std::size_t one, std::size_t other) {
    std::swap(of(rank)[one], of(rank)[other]);
  }
  void frees(std::int32_t rank, std::size_t step, std::vector<std::int16_t> values) {
    lists_.push_back(std::make_unique<std::vector<std::int16_t>>(std::move(values)));
    of(rank)[step].step.frees = *lists_.back();
  }
  std::span<const Unit> units(std::int32_t stage) const { return program_.units(stage); }
  const Operands& operands(std::int32_t rank, std::size_t step) {
    return operands_of(of(rank)[step].step, units(program_.stage_of(Rank(rank))));
  }
  // Some finding is of this rank, and its step and reason have these words in them.
  void expect(std::int32_t rank, std::string_view op, std::string_view reason) {
    const std::vector<Finding> found = verify(steps_);
    std::string all;
    for (const Finding& f : found) {
      if (f.rank == rank && f.op.find(op) != std::string::npos && f.reason.find(reason) != std::string::npos)
        return;
      all += to_string(f) + "\n";
    }
    ADD_FAILURE() << "rank " << rank << " " << op << ": " << reason << " is not among\n" << all;
  }

 private:
  Program program_;
  ProgramSteps steps_;
  std::vector<std::unique_ptr<std::vector<std::int16_t>>> lists_;
};

Test is(Action action, std::int32_t microbatch = -1) {
  return [=](const Step& s) { return s.action == action && (microbatch < 0 || s.microbatch == microbatch); };
}
Test moves(Action action, bool backward, std::int32_t microbatch) {
  return [=](const Step& s) {
    return s.action == action && s.backward == backward && s.microbatch == microbatch;
  };
}

// Ranks of pp=2: 0 is stage 0, 1 is stage 1.
TEST(VerifyRefuses, ADroppedSend) {
  Broken b("pp=2", 2);
  b.drop(0, b.find(0, moves(Action::send, false, 3)));
  b.expect(1, "receive activation of micro-batch 3", "the next message of rank 0 is micro-batch 4");
}
TEST(VerifyRefuses, TheLastSendDropped) {
  Broken b("pp=2", 2);
  b.drop(0, b.find(0, moves(Action::send, false, 15)));
  b.expect(1, "receive activation of micro-batch 15", "deadlock: waits for a message of rank 0");
}
TEST(VerifyRefuses, ASendWithoutItsValueFreed) {
  Broken b("pp=2", 2);
  b.drop(0, b.find(0, moves(Action::send, false, 3)));
  b.expect(0, "forward add", "is never freed");
}
TEST(VerifyRefuses, ADroppedReceive) {
  Broken b("pp=2", 2);
  b.drop(1, b.find(1, moves(Action::receive, false, 15)));
  b.expect(0, "send activation of micro-batch 15", "rank 1 never receives it");
}
TEST(VerifyRefuses, AReadOfWhatNeverCame) {
  Broken b("pp=2", 2);
  b.drop(1, b.find(1, moves(Action::receive, false, 0)));
  b.expect(1, "forward norm layer 2 micro-batch 0", "which nothing has made");
}
TEST(VerifyRefuses, TwoReceivesSwapped) {
  Broken b("pp=2", 2);
  b.swap(0, b.find(0, moves(Action::receive, true, 3)), b.find(0, moves(Action::receive, true, 4)));
  b.expect(0, "receive gradient of micro-batch 4", "the next message of rank 1 is micro-batch 3");
}
TEST(VerifyRefuses, TwoSendsSwapped) {
  Broken b("pp=2", 2);
  const std::size_t one = b.find(0, moves(Action::send, false, 3)),
                    other = b.find(0, moves(Action::send, false, 4));
  b.move(0, one, other);
  b.expect(1, "receive activation of micro-batch 3", "is micro-batch 4");
}
TEST(VerifyRefuses, AReceiveBeforeWhatItWaitsFor) {  // stage 0 wants a gradient before it sends anything
  Broken b("pp=2", 2);
  b.move(0, b.find(0, moves(Action::receive, true, 0)), 0);
  b.expect(0, "receive gradient of micro-batch 0", "deadlock: waits for a message of rank 1");
  b.expect(1, "receive activation of micro-batch 0", "deadlock: waits for a message of rank 0");
}
TEST(VerifyRefuses, AWrongPeer) {
  Broken b("pp=4", 4);
  b.of(0)[b.find(0, moves(Action::send, false, 2))].exchanges.begin()->peer = Rank(2);
  b.expect(0, "send activation of micro-batch 2", "rank 2 never receives it");
}
TEST(VerifyRefuses, AMessageOfAnotherSize) {
  Broken b("pp=2", 2);
  b.of(0)[b.find(0, moves(Action::send, false, 2))].exchanges.begin()->bytes /= 2;
  b.expect(1, "receive activation of micro-batch 2", "expects 8192 bytes, rank 0 sends 4096");
}

// The first reduction of a layer over dp, on rank 1 of four.
TEST(VerifyRefuses, ACollectiveOfAnotherSizeOnOneMember) {
  Broken b("dp=4", 4);
  b.of(1)[b.find(1, is(Action::reduce))].exchanges.begin()->bytes += 4;
  b.expect(1, "reduce head", "does all_reduce of 65796 bytes, rank 0 of its group does all_reduce of 65792");
}
TEST(VerifyRefuses, AnotherKindOfCollectiveOnOneMember) {
  Broken b("dp=4", 4);
  b.of(2)[b.find(2, is(Action::reduce))].exchanges.begin()->kind = Exchange::Kind::all_gather;
  b.expect(2, "reduce head", "does all_gather");
}
TEST(VerifyRefuses, TwoCollectivesSwappedOnOneMember) {  // alike in size: sums of other layers
  Broken b("dp=4", 4);
  b.swap(3, b.find(3, is(Action::reduce), 1), b.find(3, is(Action::reduce), 2));
  b.expect(3, "reduce layer 2", "rank 0 of its group does all_reduce");
}
TEST(VerifyRefuses, ACollectiveThatOneMemberLeavesOut) {  // of two, they meet at the next one
  Broken b("tp=2,sp=1", 2);
  const auto gathers = [](const RankStep& s) {
    return s.step.microbatch == 15 && !s.exchanges.empty() &&
           s.exchanges.front().kind == Exchange::Kind::all_gather;
  };
  std::find_if(b.of(1).begin(), b.of(1).end(), gathers)->exchanges = {};
  b.expect(1, "forward attention_out layer 0 micro-batch 15", "does reduce_scatter of 8192 bytes, rank 0");
}
TEST(VerifyRefuses, CollectivesOfTwoGroupsInAnotherOrder) {  // rank 0: tp first; rank 1: dp first
  Broken b("dp=2,tp=2,sp=1", 4);
  const std::size_t clip = b.find(1, is(Action::clip));
  b.move(1, clip, 0);
  b.expect(1, "clip", "deadlock: its all_reduce waits for rank 0");
}
TEST(VerifyRefuses, AGroupWithoutThisRank) {
  Broken b("dp=2,tp=2,sp=1", 4);
  RankStep& mine = b.of(3)[b.find(3, is(Action::reduce))];
  mine.exchanges = b.of(0)[b.find(0, is(Action::reduce))].exchanges;
  b.expect(3, "reduce head", "is no member of the group");
}

// One rank's order.
TEST(VerifyRefuses, AMicroBatchTwice) {
  Broken b("dp=1", 1);
  Step again = b.of(0)[b.find(0, is(Action::op, 3))].step;
  b.of(0).insert(b.of(0).end() - 8, {again, {}});
  b.expect(0, "forward embedding embedding micro-batch 3", "runs again: the forward has passed it");
}
TEST(VerifyRefuses, AMicroBatchThatIsNotThere) {
  Broken b("dp=1", 1);
  b.of(0)[5].step.microbatch = 16;
  b.expect(0, "micro-batch 16", "there is no micro-batch 16");
}
TEST(VerifyRefuses, AnOperationLeftOut) {
  Broken b("dp=1", 1);
  b.drop(0, b.find(0, [](const Step& s) {
    return s.microbatch == 2 && s.backward && s.unit == 2 && s.op == 3;
  }));
  b.expect(0, "backward", "runs before operation 3 of the");
}
TEST(VerifyRefuses, ABackwardBeforeItsForward) {
  Broken b("dp=1", 1);
  const auto first = [](const Step& s) { return s.action == Action::op && s.backward && s.microbatch == 1; };
  const std::size_t forward = b.find(0, is(Action::op, 1));
  b.move(0, b.find(0, first), forward);
  b.expect(0, "backward", "backward before its forward is done");
}
TEST(VerifyRefuses, AWeightGradientBeforeItsInput) {  // zb-h1 runs the halves apart
  Broken b("pp=2,schedule=zb-h1", 2);
  const auto half = [&](bool weights) {
    return [&, weights](const Step& s) {
      return s.action == Action::op && s.backward && s.microbatch == 3 && s.unit == 2 &&
             (operands_of(s, b.units(0)).half == Half::weight_gradient) == weights;
    };
  };
  b.move(0, b.find(0, half(true)), b.find(0, half(false)));
  b.expect(0, "backward", "weight gradient before the input gradients");
}
TEST(VerifyRefuses, AMicroBatchOfTheOtherCopy) {
  Broken b("pp=2,schedule=dualpipe", 2);
  const std::size_t at = b.find(0, is(Action::op, 0));
  b.of(0)[at].step.microbatch = 15;
  b.expect(0, "micro-batch 15", "this copy of the weights does not run micro-batch 15");
}

// Values.
TEST(VerifyRefuses, ADoubleFree) {
  Broken b("dp=1", 1);
  const std::size_t at = b.find(0, [](const Step& s) { return s.backward && !s.frees.empty(); });
  std::vector<std::int16_t> twice(b.of(0)[at].step.frees.begin(), b.of(0)[at].step.frees.end());
  twice.push_back(twice.front());
  b.frees(0, at, twice);
  b.expect(0, "backward", "again (first at step");
}
TEST(VerifyRefuses, AMissingFree) {
  Broken b("dp=1", 1);
  b.frees(0, b.find(0, [](const Step& s) { return s.backward && !s.frees.empty(); }), {});
  b.expect(0, "", "is never freed");
}
TEST(VerifyRefuses, AReadOfAFreedValue) {  // the attention frees the rows that its backward reads
  Broken b("dp=1", 1);
  const std::size_t at = b.find(0, [&](const Step& s) {
    return s.action == Action::op && !s.backward && operands_of(s, b.units(0)).what == Operator::attention;
  });
  b.frees(0, at, {b.operands(0, at).reads.front()});
  b.expect(0, "backward attention", "has freed");
}
TEST(VerifyRefuses, AFreeOfAnUnmadeValue) {
  Broken b("dp=1", 1);
  b.frees(0, 0, {b.operands(0, b.find(0, [](const Step& s) { return s.backward; })).writes.front()});
  b.expect(0, "forward embedding", "which nothing has made");
}

// Weights.
TEST(VerifyRefuses, AMissingGather) {
  Broken b("dp=2,zero=3", 2);
  b.drop(0, b.find(0, is(Action::gather), 1));
  b.expect(0, "forward norm layer 0", "reads weights of layer 0 that are not gathered");
  b.expect(1, "gather layer 0", "does all_gather");
}
TEST(VerifyRefuses, AGatherThatComesTooLate) {
  Broken b("dp=2,zero=1", 2);
  const std::size_t at = b.find(0, is(Action::gather));
  b.move(0, at, at + 2);  // those of two units come first
  b.expect(0, "forward embedding", "that are not gathered");
}
TEST(VerifyRefuses, AMissingRelease) {
  Broken b("dp=2,zero=3", 2);
  b.drop(0, b.find(0, is(Action::release), 1));
  b.expect(0, "gather layer 0", "whole already");
}
TEST(VerifyRefuses, AReleaseTwice) {
  Broken b("dp=2,zero=3", 2);
  b.repeat(0, b.find(0, is(Action::release), 1));
  b.expect(0, "release layer 0", "not gathered");
}
TEST(VerifyRefuses, AMissingReduce) {
  Broken b("dp=2", 2);
  b.drop(0, b.find(0, is(Action::reduce), 2));
  b.expect(0, "clip", "before the gradients of layer 2 are reduced");
  b.expect(0, "update layer 2", "not reduced");
}
TEST(VerifyRefuses, AReduceTwice) {
  Broken b("dp=2", 2);
  b.repeat(0, b.find(0, is(Action::reduce), 2));
  b.expect(0, "reduce layer 2", "no gradient has come since");
}
TEST(VerifyRefuses, AReduceBeforeTheLastGradient) {
  Broken b("dp=2", 2);
  const std::size_t at = b.find(0, is(Action::reduce), 2);
  b.move(0, at, b.find(0, [](const Step& s) { return s.backward && s.microbatch == 6; }));
  b.expect(0, "backward", "after its reduction");
}
TEST(VerifyRefuses, AMissingSumOverTheCut) {
  Broken b("tp=2,sp=1", 2);
  b.drop(0, b.find(0, is(Action::sum_shared)));
  b.expect(0, "clip", "are summed over its cut");
}
TEST(VerifyRefuses, AMissingSumOverCopies) {
  Broken b("pp=2", 2, false, true);
  b.drop(0, b.find(0, is(Action::sum_copies)));
  b.expect(0, "clip", "are summed over its copies");
}
TEST(VerifyRefuses, AMissingUpdate) {
  Broken b("dp=2", 2);
  b.drop(1, b.find(1, is(Action::update), 3));
  b.expect(1, "end of the step", "layer 2 is never updated");
}
TEST(VerifyRefuses, AnUpdateBeforeTheNorm) {
  Broken b("dp=2", 2);
  b.move(1, b.find(1, is(Action::clip)), b.find(1, is(Action::update)));
  b.expect(1, "update embedding", "before the norm");
}

}  // namespace
}  // namespace tw
