// Routed tokens in pieces, by hand: a layer whose dispatch, experts and combine take stated times.
#include <gtest/gtest.h>

#include <map>

#include "costmodel/program/view.hpp"
#include "costmodel/sim/groups.hpp"
#include "costmodel/sim/run.hpp"
#include "tests/support/small_models.hpp"

namespace tw {
namespace {

struct Times {
  double dispatch, experts, combine;  // of the forward
};

// A layer of experts after one without, one micro-batch on two ranks; a piece of n takes a n-th, and `start`
// more.
SimTime end_of(Times times, std::int32_t pieces, double start = 0) {
  const Program program(small_input(small_model(true, 2), "dp=2,ep=2", 2, 2));
  std::map<std::tuple<std::int32_t, bool, std::int16_t>, PricedOp> priced;
  SimPrices prices;
  const auto op_at = [&](const Step& step, std::int32_t stage) -> const Op& {
    return op_of(step, program.units(stage));
  };
  const auto seconds = [&](const Step& step, std::int32_t stage) {
    const std::string_view name = op_at(step, stage).name;
    if (step.backward) return 0.0;
    return name == "dispatch"    ? times.dispatch
           : name == "combine"   ? times.combine
           : name == "expert_up" ? times.experts
                                 : 0.0;
  };
  prices.of = [&](const Step& step, std::int32_t stage) -> StepPrice {
    if (step.action != Action::op) return {};
    const Op& op = op_at(step, stage);
    PricedOp& out = priced[{step.unit, step.backward, step.op}];
    out.stream = op.stream, out.after = op.after, out.term = op.term;
    out.seconds = seconds(step, stage) / kTicks;
    out.lost = 0;
    return {&out, out.seconds};
  };
  prices.routed = [&](const Step& step, std::int32_t stage) {
    const std::string_view name = op_at(step, stage).name;
    return name == "dispatch" || name == "combine" || name.starts_with("expert_") || name == "sort" ||
           name == "unsort" || (name == "activation" && op_at(step, stage).module == Module::moe_act);
  };
  prices.piece = [&](const Step& step, std::int32_t stage, std::int32_t n) {
    const double whole = seconds(step, stage);
    return whole > 0 ? (whole / n + start) / kTicks : 0;
  };
  SimGroups groups(program, SimRules::framework);
  CodeInput input{&program, SimRules::framework,
                  &prices,  [&](const Step& step, std::int32_t stage) { return groups.of(step, stage); },
                  {},       pieces};
  const std::vector<StageCode> code = sim_code(input);
  const Players players = players_of(program, groups, {}, {}, true);
  RunInput run;
  run.code = code, run.players = &players;
  return run_simulation(run).end;
}

// Experts the longest: the first piece travels alone, the last one back; between them the experts never wait.
TEST(SimulatorsPieces, HideAllButTheFirstAndTheLast) {
  const Times times{480, 960, 480};
  EXPECT_EQ(end_of(times, 1), 480 + 960 + 480);
  EXPECT_EQ(end_of(times, 2), 240 + 960 + 240);
  EXPECT_EQ(end_of(times, 4), 120 + 960 + 120);
  EXPECT_EQ(end_of(times, 8), 60 + 960 + 60);
}

// The exchanges the longest: 960 each way, and a piece of the experts (240 of 480) beside the last to come.
// In two: there until 960, the first piece of the experts under it, back from 960 on: 960 + 960.
TEST(SimulatorsPieces, AreBoundByTheLinks) {
  EXPECT_EQ(end_of({960, 480, 960}, 1), 2400);
  EXPECT_EQ(end_of({960, 480, 960}, 2), 1920);
  // Back is shorter than the last piece's work: there until 960, its experts until 1200, back 120.
  EXPECT_EQ(end_of({960, 480, 240}, 2), 960 + 240 + 120);
}

// What each piece costs anew: 480 + 960 + 480 and 100 for each start. In two, 340 before and after the experts'
// 2 * 580; in eight, the links are the longest with 8 * 160 each way.
TEST(SimulatorsPieces, CostTheirStart) {
  EXPECT_EQ(end_of({480, 960, 480}, 8, 100), 2 * 8 * 160);
  EXPECT_EQ(end_of({480, 960, 480}, 2, 100), 340 + 2 * 580 + 340);
}

}  // namespace
}  // namespace tw
