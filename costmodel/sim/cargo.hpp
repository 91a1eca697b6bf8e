// What every exchange and message of a Program carries, as the closed form prices it: of an operation, what
// it says; of states, the elements of each scope over the group that it meets over; of a boundary, its
// tokens.
#pragma once

#include "costmodel/evaluator.hpp"
#include "costmodel/sim/groups.hpp"

namespace tw {

// All must outlive what is returned. skewed: routed tokens of a layer follow the matrix of its number.
CarriedBy cargo_of(const Program& program, const SimGroups& groups, const StepContext& context, bool skewed);

}  // namespace tw
