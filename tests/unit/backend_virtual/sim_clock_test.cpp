// The simulator's clock and the virtual backend's: the same Program at the same times, played by an event
// loop and by the trainer's loop over messages, which share no code.
#include <gtest/gtest.h>

#include <random>

#include "costmodel/layout/legality.hpp"
#include "planner/enumerate.hpp"
#include "tests/support/sim_play.hpp"
#include "tests/support/small_models.hpp"
#include "tests/support/thread_clocks.hpp"

namespace tw {
namespace {

// Whole picoseconds, from 0 to a few hundred: random, a third of them nothing. Messages all take as long, so
// that none overtakes another, and sums between stages too: what a group does takes all of it as long.
StepSeconds random_ticks(const Program& program, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  return table_of(program, [&](const Step& step, std::span<const Unit>) {
    const bool free = step.action == Action::receive || step.action == Action::release;
    if (step.action == Action::send) return static_cast<double>(seed % 5 * 40);
    if (step.action == Action::sum_copies || step.action == Action::clip)
      return static_cast<double>(seed % 7 * 50);
    const std::uint64_t drawn = random() % 300;
    return free || drawn < 100 ? 0.0 : static_cast<double>(drawn);
  });
}

void expect_equal_clocks(const Program& program, std::uint64_t seed, const std::string& what) {
  StepSeconds table = random_ticks(program, seed);
  const auto ranks = run_all_ranks(program, table);  // its clock counts picoseconds
  for (std::vector<double>& stage : table) {
    for (double& each : stage) each /= kTicks;
  }
  const PlayedProgram played = play_program(program, table, true);
  for (std::size_t rank = 0; rank < ranks.size(); ++rank)
    ASSERT_EQ(static_cast<double>(played.run.players[rank].end), ranks[rank]->engine.now())
        << what << " rank " << rank;
}

TEST(SimulatorsClock, IsTheVirtualBackends) {
  int layouts = 0;
  for (const bool experts : {false, true}) {
    const Model model = small_model(experts, 4);
    for (const std::int32_t gpus : {1, 2, 4, 8}) {
      Job job{&model, 8, 64, gpus, {}};
      SearchSpace space;
      space.schedules = (1u << kSchedules) - 1;
      space.recomputes = {Recompute{}, parse_recompute("full")};
      space.max_mb = 2;
      std::vector<Layout> all;
      for_each_layout(space, job, [&](const Layout& layout, Link) { all.push_back(layout); });
      std::mt19937_64 random(static_cast<std::uint64_t>(gpus));
      std::shuffle(all.begin(), all.end(), random);
      for (std::size_t i = 0; i < std::min<std::size_t>(all.size(), 25); ++i, ++layouts) {
        const Program program(small_input(model, all[i], 8));
        expect_equal_clocks(program, i + 1, to_string(all[i]));
        if (HasFatalFailure()) return;
      }
    }
  }
  EXPECT_GE(layouts, 100);
  std::printf("%d layouts, clocks equal on every rank\n", layouts);
}

}  // namespace
}  // namespace tw
