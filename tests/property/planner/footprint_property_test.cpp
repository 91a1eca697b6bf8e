// The footprint of the steps against the closed form's memory of the same layout.
#include "costmodel/program/footprint.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "costmodel/memory.hpp"
#include "tests/support/problems.hpp"

namespace tw {
namespace {

struct Both {
  std::vector<StageDetail> closed;
  std::vector<Footprint> steps;
  std::int64_t logits = 0, workspace = 0;
  std::size_t units = 0;  // most of one stage
};

Both both(const std::string& model, std::string_view layout, std::int32_t gpus, std::int64_t batch,
          std::int32_t seq) {
  const Inputs inputs = inputs_of(model, "h100-sxm:" + std::to_string(gpus), batch, seq, "trainwright");
  const Problem problem(inputs, gpus);
  Both out;
  ProgramInput input;
  input.model = inputs.model, input.profile = inputs.profile;
  input.layout = parse_layout(layout, gpus);
  input.job = problem.job;
  Evaluator evaluator(problem.job, problem.machine, inputs.settings);
  evaluator.cost(input.layout, out.closed);
  out.workspace = inputs.profile.memory.workspace.count;
  out.logits = logit_bytes(evaluator.context(), input.layout);
  const Program program(std::move(input));
  for (std::int32_t stage = 0; stage < program.stages(); ++stage) {
    out.steps.push_back(footprint(program, program.peer(Rank(0), stage)));
    out.units = std::max(out.units, program.units(stage).size());
  }
  return out;
}

struct Case {
  const char *model, *layout;
  std::int32_t gpus;
  std::int64_t batch;
};
const Case kWhole[] = {
    {"llama-3.1-8b", "dp=1", 1, 2},
    {"llama-3.1-8b", "dp=8,zero=1", 8, 32},
    {"llama-3.1-8b", "dp=8,zero=2", 8, 8},
    {"llama-3.1-8b", "dp=8,zero=3", 8, 32},
    {"llama-3.1-8b", "tp=4,sp=1,dp=2,zero=3,recompute=full", 8, 8},
    {"llama-3.1-8b", "tp=2,sp=1,recompute=selective", 2, 4},
    {"llama-3.1-8b", "tp=4", 4, 4},
    {"llama-3.1-8b", "cp=4,cp_kind=zigzag", 4, 4},
    {"llama-3.1-8b", "cp=4,cp_kind=a2a", 4, 4},
    {"llama-3.1-8b", "pp=4", 4, 16},
    {"llama-3.1-8b", "pp=4,schedule=gpipe", 4, 8},
    {"llama-3.1-8b", "pp=4,vpp=4,schedule=interleaved", 4, 16},
    {"llama-3.1-8b", "pp=4,tp=2,sp=1,recompute=full", 8, 16},
    {"llama-3.1-8b", "pp=2,recompute=full:4", 2, 8},
    {"llama-3.2-1b", "pp=2", 2, 8},
    {"qwen3-30b-a3b", "ep=8,dp=8,zero=1", 8, 16},
    {"qwen3-30b-a3b", "ep=4,tp=2,sp=1,dp=4,zero=3,hsdp=2", 8, 16},
    {"qwen3-30b-a3b", "ep=4,etp=2,tp=2,sp=1,dp=4,pp=2,zero=1,recompute=moe_act+norm", 16, 32},
    {"mixtral-8x7b", "tp=2,sp=1,ep=4,dp=4,zero=2,recompute=attention+mlp", 8, 16}};
const Case kSplit[] = {{"llama-3.1-8b", "pp=4,schedule=zb-h1", 4, 16},
                       {"llama-3.1-8b", "pp=4,schedule=zb-h1,recompute=full", 4, 16},
                       {"llama-3.1-8b", "pp=4,tp=2,sp=1,schedule=zb-h1,recompute=selective", 8, 16},
                       {"llama-3.1-8b", "pp=4,vpp=2,schedule=zb-v", 4, 16},
                       {"llama-3.1-8b", "pp=4,vpp=2,schedule=zb-v,recompute=full", 4, 16},
                       {"llama-3.1-8b", "pp=4,schedule=dualpipe", 4, 16},
                       {"llama-3.1-8b", "pp=4,vpp=2,schedule=dualpipe-v", 4, 16},
                       {"qwen3-30b-a3b", "pp=4,ep=4,dp=4,zero=1,schedule=zb-h1", 16, 64},
                       {"qwen3-30b-a3b", "pp=4,ep=4,dp=4,zero=1,schedule=dualpipe", 16, 64}};
constexpr std::int32_t kSeq = 2048;
// How far the closed form may be above the steps (two gathered layers, the widest operation), and below
// them (the gradient of the head's input beside the logits).
constexpr double kTight = 0.9, kHeadInput = 1.002;
// A weight half needs the input and the output's gradient of its GEMM. The closed form takes this as no more
// than what the forward kept; with recompute, or rows of experts, it is more, and the steps are above it.
constexpr double kSplitOver = 1.25;

// Parts of the closed form that the steps have too.
std::int64_t bound(const MemoryUse& use, std::int64_t workspace) {
  return use[MemoryPart::parameters] + use[MemoryPart::gradients] + use[MemoryPart::optimizer] +
         use[MemoryPart::activations] + use[MemoryPart::logits] + use[MemoryPart::temporary] - workspace;
}

std::string owners_of(const Footprint& steps) {
  std::string out;
  for (const Owner& owner : steps.owners) out += "\n  " + owner.name + " " + std::to_string(owner.bytes);
  return out;
}

// Where gradients are kept cut, those of a unit are whole until they are reduced. The closed form leaves
// them out.
double whole_gradients(const Footprint& steps) {
  double bytes = 0;
  for (const Owner& owner : steps.owners)
    bytes += owner.name.starts_with("whole gradient") ? static_cast<double>(owner.bytes) : 0;
  return bytes;
}

void expect_bound(const Case& c, bool exact) {
  const Both found = both(c.model, c.layout, c.gpus, c.batch, kSeq);
  ASSERT_EQ(found.closed.size(), found.steps.size());
  for (std::size_t s = 0; s < found.steps.size(); ++s) {
    const MemoryUse& closed = found.closed[s].memory;
    const Footprint& steps = found.steps[s];
    const std::string where = std::string(c.model) + " " + c.layout + " stage " + std::to_string(s);
    // The closed form rounds a unit's cut states once, the steps once per scope, both in whole elements.
    const auto rounding = static_cast<std::int64_t>(found.units) * 12;
    EXPECT_NEAR(static_cast<double>(steps.parameters), static_cast<double>(closed[MemoryPart::parameters]),
                static_cast<double>(rounding))
        << where;
    EXPECT_NEAR(static_cast<double>(steps.gradients), static_cast<double>(closed[MemoryPart::gradients]),
                static_cast<double>(rounding))
        << where;
    EXPECT_NEAR(static_cast<double>(steps.moments), static_cast<double>(closed[MemoryPart::optimizer]),
                static_cast<double>(rounding))
        << where;
    const std::int64_t kept = closed[MemoryPart::activations] + closed[MemoryPart::logits];
    const auto most = static_cast<double>(bound(closed, found.workspace));
    const auto peak = static_cast<double>(steps.peak);
    EXPECT_LE(steps.kept, kept) << where;
    if (exact) {
      EXPECT_EQ(steps.kept, kept) << where;
      EXPECT_LE(peak - whole_gradients(steps), kHeadInput * most) << where << owners_of(steps);
      EXPECT_GE(peak, kTight * most) << where;
    } else {
      EXPECT_LE(peak, kSplitOver * most) << where << owners_of(steps);
    }
    EXPECT_EQ(steps.left, 0) << where;
  }
}

TEST(Footprint, WholeBackwardsKeepExactlyWhatTheClosedFormSays) {
  for (const Case& c : kWhole) expect_bound(c, true);
}

// A value that W reads stays until W, another is free after B.
TEST(Footprint, SplitBackwardsKeepNoMoreThanTheClosedFormSays) {
  for (const Case& c : kSplit) expect_bound(c, false);
}

}  // namespace
}  // namespace tw
