// The closed form's memory against the bytes of a Program's steps, over layouts spread through all legal
// ones of a few problems: every stage of every one.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "costmodel/memory.hpp"
#include "costmodel/program/footprint.hpp"
#include "planner/enumerate.hpp"
#include "tests/support/problems.hpp"

namespace tw {
namespace {

// The closed form may be below the steps by small values that stand beside the largest (gradients on both
// sides of a conversion), above them by what is not there at once: the widest operation's tensors, and a
// parameter gather beside it; under full:N a replayed layer beside those that are kept, which end first.
// Weight halves under ZeRO-3: gradients of all layers are whole at every moment.
constexpr double kBelow = 0.01, kAbove = 0.2;

struct Tally {
  int stages = 0, layouts = 0;
  double below = 0, above = 0;
};

std::string owners_of(const Footprint& steps) {
  std::string out;
  for (const Owner& owner : steps.owners) out += "\n  " + owner.name + " " + std::to_string(owner.bytes);
  return out;
}

// Parts of the closed form that the steps have too.
std::int64_t bound(const MemoryUse& use, std::int64_t workspace) {
  return use[MemoryPart::parameters] + use[MemoryPart::gradients] + use[MemoryPart::optimizer] +
         use[MemoryPart::activations] + use[MemoryPart::logits] + use[MemoryPart::temporary] - workspace;
}

class Comparison {
 public:
  Comparison(const std::string& model, std::int32_t gpus, std::int64_t batch)
      : inputs_(inputs_of(model, "h100-sxm:" + std::to_string(gpus), batch, 2048, "trainwright")),
        problem_(inputs_, gpus),
        evaluator_(problem_.job, problem_.machine, inputs_.settings) {}

  void all(std::uint32_t every, Tally& tally) {
    SearchSpace space;
    space.schedules = 0b1111111, space.cp_kinds = 0b111;
    for (const char* text : {"full", "full:2", "selective", "attention+mlp", "norm"})
      space.recomputes.push_back(parse_recompute(text));
    if (inputs_.model.has_moe()) space.recomputes.push_back(parse_recompute("norm+moe_act"));
    std::uint32_t count = 0;
    for_each_layout(space, problem_.job, [&](const Layout& layout, Link) {
      if (count++ % every == 0) compare(layout, tally);
    });
  }

 private:
  void compare(const Layout& layout, Tally& tally) {
    std::vector<StageDetail> closed;
    evaluator_.cost(layout, closed);
    ProgramInput input;
    input.model = inputs_.model, input.profile = inputs_.profile;
    input.layout = layout, input.job = problem_.job;
    const Program program(std::move(input));
    ++tally.layouts;
    for (std::int32_t s = 0; s < program.stages(); ++s) {
      const Footprint steps = footprint(program, program.peer(Rank(0), s));
      const auto stage = static_cast<std::size_t>(s);
      expect_states(closed[stage].memory, steps, program.units(s).size());
      const auto said =
          static_cast<double>(bound(closed[stage].memory, inputs_.profile.memory.workspace.count));
      const double over = said / static_cast<double>(steps.peak) - 1;
      tally.below = std::min(tally.below, over), tally.above = std::max(tally.above, over);
      ++tally.stages;
      EXPECT_GE(over, -kBelow) << to_string(layout) << " stage " << s << owners_of(steps);
      EXPECT_LE(over, kAbove) << to_string(layout) << " stage " << s << owners_of(steps);
      EXPECT_EQ(steps.left, 0) << to_string(layout);
    }
  }

  // The closed form rounds a unit's cut states once, the steps once per scope, and what is whole to equal
  // pieces.
  void expect_states(const MemoryUse& closed, const Footprint& steps, std::size_t units) {
    const auto rounding = static_cast<double>(units * 12 * static_cast<std::size_t>(problem_.job.gpus));
    const auto near = [&](std::int64_t a, MemoryPart part) {
      EXPECT_NEAR(static_cast<double>(a), static_cast<double>(closed[part]), rounding) << name_of(part);
    };
    near(steps.parameters, MemoryPart::parameters);
    near(steps.gradients, MemoryPart::gradients);
    near(steps.moments, MemoryPart::optimizer);
  }

  Inputs inputs_;
  Problem problem_;
  Evaluator evaluator_;
};

TEST(Footprint, TheClosedFormBoundsTheStepsOfEveryLayout) {
  Tally tally;
  Comparison("llama-3.1-8b", 8, 16).all(97, tally);
  Comparison("llama-3.2-1b", 4, 8).all(31, tally);
  Comparison("qwen3-30b-a3b", 8, 16).all(397, tally);
  Comparison("mixtral-8x7b", 16, 32).all(4999, tally);
  std::printf("%d layouts, %d stages: the closed form is %.1f %% below to %.1f %% above the steps\n",
              tally.layouts, tally.stages, -100 * tally.below, 100 * tally.above);
  EXPECT_GE(tally.layouts, 400);
}

}  // namespace
}  // namespace tw
