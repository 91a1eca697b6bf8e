// Step: the pipeline's makespan over chunks of layers, what the first and last micro-batch add, the
// optimizer, stragglers, and the peak memory of every stage. The last link of a layout's price.
#pragma once

#include <array>
#include <functional>
#include <vector>

#include "costmodel/cost.hpp"
#include "costmodel/schedules/schedule.hpp"
#include "costmodel/state.hpp"

namespace tw {

inline constexpr int kMostKinds = 4;  // of layers in one model

// Layers of each kind in a chunk or on a device.
using KindCounts = std::array<std::int32_t, kMostKinds>;

// What does not depend on the layout.
struct StepContext {
  Job job;
  Machine machine;
  Bytes limit;                     // of device memory that a layout may use
  std::vector<KindCounts> before;  // layers of each kind before layer i
  double spread = 0;               // of a whole step, relative: the profile's and that of another GPU
  double straggler = 0;            // expected slow-down of the slowest of all GPUs, relative
  double per_step = 0;             // host seconds between steps
};
StepContext step_context(const Job& job, const Machine& machine, Bytes headroom);

// A layout with its cached links. `plain` prices the layers that full:N leaves alone; null otherwise.
struct Chain {
  const Layout* layout = nullptr;
  const PassCost* pass = nullptr;
  const StateCost* state = nullptr;
  const PassCost* plain = nullptr;
  const StateCost* plain_state = nullptr;
};

// Per stage, for those who ask (results and reports).
struct StageDetail {
  MemoryUse memory;
  double work = 0;  // seconds of a stage's own forward and backward over the step
};

// What the schedule of a layout plays: seconds of each chunk for one micro-batch, in model order, and of
// the hop between stages that is not already in them.
struct PipeDetail {
  std::vector<ChunkTime> chunks;
  double send = 0;
  std::int64_t microbatches = 1;
};
PipeDetail pipe_detail(const StepContext& context, const Chain& chain);

// What a slot loses at its end to the exchange with a neighbouring stage.
struct Standstill {
  double send = 0, host = 0;
};
Standstill standstill(const StepContext& context, const Chain& chain);

// Calls part(pass, state, layers) for everything that one stage holds, embedding and head included.
using PartVisitor = std::function<void(const KindPass& pass, const KindState& state, double layers)>;
void each_part_of_stage(const StepContext& context, const Chain& chain, std::int32_t stage,
                        const PartVisitor& part);

bool is_priced(const Chain& chain);
// Memory before time: where the layout does not fit or its chain is not priced, its time stays zero. For
// searches.
Cost cost_if_fits(const StepContext& context, const Chain& chain);
// No schedule ends sooner: every micro-batch passes every layer, and some stage does the mean of that work
// or more (derived). Reads the priced pass alone; 0 where the bound does not hold (DualPipe hides work,
// full:N prices two passes).
double step_floor(const StepContext& context, const Chain& chain);
Cost step_cost(const StepContext& context, const Chain& chain, std::vector<StageDetail>* stages = nullptr);

}  // namespace tw
