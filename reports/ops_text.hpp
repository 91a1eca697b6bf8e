// The operations of one layer of each kind, the embedding and the head, with the price of each.
#pragma once

#include <string>

#include "costmodel/step.hpp"
#include "reports/table.hpp"

namespace tw {

std::string ops_text(const Chain& chain, const StepContext& context, const Routing& routing,
                     const Terminal& terminal);

}  // namespace tw
