// Closed forms of the schedules' makespan: the longest path through the slots, as the best of a few
// shapes of path per stage. derived; each formula names its range, tests measure it against play.
#pragma once

#include "costmodel/schedules/schedule.hpp"

namespace tw {

// Forwards before the first backward of a stage (Narayanan et al. 2021, section 2.2, as run by
// Megatron-LM): two more per stage below, and a turn of pp for each chunk but the last.
inline std::int64_t interleaved_warmup(const PipeShape& shape, std::int32_t stage) {
  const std::int64_t last = shape.microbatches * shape.vpp - 1;
  const std::int64_t deep = 2 * (shape.pp - 1 - stage) + (shape.vpp - 1) * shape.pp;
  return last < deep ? last : deep;
}

Makespan one_f_one_b_makespan(const PipeShape& shape, const PipeTimes& times);
Makespan interleaved_makespan(const PipeShape& shape, const PipeTimes& times);
Makespan zb_h1_makespan(const PipeShape& shape, const PipeTimes& times);
Makespan zb_v_makespan(const PipeShape& shape, const PipeTimes& times);
Makespan dualpipe_makespan(const PipeShape& shape, const PipeTimes& times);
Makespan dualpipe_v_makespan(const PipeShape& shape, const PipeTimes& times);

}  // namespace tw
