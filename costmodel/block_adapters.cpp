// A frozen linear with its adapter: x -> W x + scale * B (A x). The base needs the gradient of its input
// but no weight gradient (arXiv 2106.09685, section 4.2); A and B are linears of their own.
#include <cmath>

#include "costmodel/blocks/builder.hpp"

namespace tw {

// With several projections each has its own A and B: A's are side by side, each B reads its own part.
// Passes per element (reads and writes, eager, adapters in format f): input cast 2 + f (none in bf16);
// output: times scale f + f, cast f + 2 (none in bf16), sum 2 + 2 + 2; backward: cast 2 + f, times scale
// f + f. One fused kernel: f + 2 + 2 forward, 2 + f backward.
TensorId Builder::adapted_linear(const LinearSpec& spec, TensorId x) {
  const Adapters& lora = *input_.training.lora;
  const bool expert = spec.groups > 0;
  const std::int64_t rank = expert ? *lora.expert_rank : lora.rank, f = size_of(*lora.math);
  const TensorId base = plain_linear(spec, x);
  const auto parts = static_cast<std::int64_t>(std::max<std::size_t>(spec.parts.size(), 1));
  const auto elements = [&](TensorId id) {
    return static_cast<double>(local_bytes(id)) / static_cast<double>(at(id).spec.element_bytes);
  };
  TensorId input = x;
  if (f > 2) {
    TensorSpec wide = at(x).spec;
    wide.name = "lora_cast", wide.element_bytes = f;
    const double bytes = static_cast<double>((2 + f) * parts) * elements(x);
    input = pointwise({.name = "lora_cast",
                       .out = wide,
                       .forward_bytes = bytes,
                       .backward_bytes = bytes,
                       .launches = static_cast<std::int16_t>(parts)},
                      {x});
  }
  LinearSpec down = spec;
  down.name = "lora_a", down.out = rank * parts, down.counted_out = 0, down.bias = false;
  down.stacked = 1, down.frozen = false, down.adapter = true, down.low_precision = false;
  down.split = spec.split == Split::column ? Split::replicated : spec.split;
  down.parts = {};
  for (std::int64_t i = 0; i < parts && parts > 1; ++i) down.parts.push_back(rank);
  LinearSpec up = spec;
  up.name = "lora_b", up.bias = false, up.frozen = false, up.adapter = true, up.low_precision = false;
  up.split = spec.split == Split::column ? spec.split : Split::replicated;
  up.depth = rank;
  const TensorId update = plain_linear(up, plain_linear(down, input));
  const bool fused = kernels().fused_adapter;
  const auto passes = [&](std::int64_t forward) {
    if (fused) return static_cast<double>(forward ? f + 4 : f + 2);
    const std::int64_t cast = f > 2 ? f + 2 : 0;
    return static_cast<double>(2 * f + cast + (forward ? 6 : 0));
  };
  TensorSpec out = at(base).spec;
  const double count = elements(base);
  const std::int64_t kernels_each = fused ? 1 : (f > 2 ? 3 : 2);
  return pointwise({.name = "lora_add",
                    .out = out,
                    .forward_bytes = passes(1) * count,
                    .backward_bytes = passes(0) * count,
                    .launches = static_cast<std::int16_t>(parts * kernels_each)},
                   {base, update});
}

}  // namespace tw
