// What a row measured, as seconds of a step and bytes of one kind, by its source's own conventions.
#pragma once

#include "costmodel/prediction.hpp"
#include "planner/validate/result.hpp"
#include "planner/validate/source_rules.hpp"

namespace tw::validate {

// FLOPs of one token as the source counts them.
Flops counted_flops(const Model& model, std::int32_t seq, FlopsConvention convention);

// The step time from what the row gives: seconds, tokens/s, then TFLOP/s or MFU through the FLOPs
// that its source counts, over the bf16 peak. `memory`: the kind that the source means.
MeasuredRow measured_of(const Row& row, const Job& job, FlopsPerSec peak, const SourceRule& rule);

// Predicted bytes of a kind: allocated by tensors, + allocator slack, + context and communicators.
struct MemoryKinds {
  double allocated_gib = 0, reserved_gib = 0, device_gib = 0;
};
MemoryKinds memory_kinds(const MemoryUse& use);

}  // namespace tw::validate
