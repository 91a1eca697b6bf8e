// Bytes alive on one rank while it runs its steps: parameters, gradients and moments all step long,
// gathered parameters and whole gradients from their gather to their release, values from the operation
// that writes them to the one that frees them. Allocators, workspaces and communicators are not in it.
#pragma once

#include <string>
#include <vector>

#include "costmodel/program/view.hpp"

namespace tw {

// Of one unit on one rank. Each scope is one flat array that its shard group cuts, rounded up.
struct StateBytes {
  std::int64_t parameters = 0, gradients = 0, moments = 0;  // all step long
  std::int64_t gathered = 0;        // the whole parameters, from gather to release (zero 3)
  std::int64_t whole_gradient = 0;  // from the first weight gradient to the reduction, where kept cut
};
StateBytes state_bytes(const Program& program, std::int32_t stage, std::int32_t unit);

struct Owner {
  std::string name;
  std::int64_t bytes = 0;
};
struct Footprint {
  std::int64_t parameters = 0, gradients = 0, moments = 0;
  std::int64_t peak = 0;      // of everything
  std::size_t step = 0;       // at which it is reached first
  std::vector<Owner> owners;  // at the peak: states, then values by unit and micro-batch, in step order
  std::int64_t kept = 0;      // most bytes of values that a forward has made and a backward will read
  std::int64_t left = 0;      // alive at the end beyond the states: 0
};
Footprint footprint(const Program& program, Rank rank);

}  // namespace tw
