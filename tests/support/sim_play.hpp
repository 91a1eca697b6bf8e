// A Program played by the simulator at stated seconds, under the rules of our trainer's loop.
#pragma once

#include "costmodel/program/step_seconds.hpp"
#include "costmodel/sim/groups.hpp"
#include "costmodel/sim/run.hpp"

namespace tw {

struct PlayedProgram {
  std::vector<StageCode> code;
  Players players;
  RunResult run;
};

inline PlayedProgram play_program(const Program& program, const StepSeconds& seconds, bool unfold) {
  SimPrices prices;
  prices.of = [&](const Step& step, std::int32_t stage) {
    const auto index = static_cast<std::size_t>(&step - program.steps(stage).data());
    return StepPrice{nullptr, seconds[static_cast<std::size_t>(stage)][index]};
  };
  SimGroups groups(program, SimRules::trainer);
  PlayedProgram out;
  out.code = sim_code({&program,
                       SimRules::trainer,
                       &prices,
                       [&](const Step& step, std::int32_t stage) { return groups.of(step, stage); },
                       {}});
  out.players = players_of(program, groups, {}, {}, unfold);
  RunInput run;
  run.code = out.code, run.players = &out.players;
  out.run = run_simulation(run);
  return out;
}

}  // namespace tw
