// What low-precision GEMMs change around them: kept inputs, and gathers of sequence parallelism, which carry
// the operand as the GEMM reads it.
#include <cmath>

#include "costmodel/blocks/builder.hpp"

namespace tw {
namespace {

// Bits with scales: one of 8 bits for 32 elements of MXFP8 (OCP Microscaling Formats 1.0) and for 16 of
// NVFP4 (Transformer Engine, NVFP4 recipe); one for a tensor or a block of 128 else.
double low_bits(Precision precision) {
  if (precision == Precision::nvfp4) return 4 + 8.0 / 16;
  return precision == Precision::mxfp8 ? 8 + 8.0 / 32 : 8;
}

// Scales of blocks differ by row and by column, so that both copies of a gradient travel.
bool by_blocks(Precision precision) {
  return precision == Precision::mxfp8 || precision == Precision::nvfp4 || precision == Precision::fp8_block;
}

}  // namespace

// Transformer Engine keeps the quantised input of a linear for its weight gradient, in one usage, beside
// what others keep of the same tensor (docs/features/low_precision_training, Performance Considerations,
// "Memory usage"); torchao keeps it in bf16 (float8_linear.py, saves input_hp).
bool Builder::keeps_low(const Node& node) const {
  return node.kind == Kind::linear && node.linear.low_precision && kernels().low_precision_inputs &&
         input_.key.precision != Precision::bf16;
}

std::int64_t Builder::low_bytes(const TensorSpec& spec) const {
  return std::llround(local_rows(spec) * static_cast<double>(local_width(spec)) *
                      low_bits(input_.key.precision) / 8);
}

// The sequence-parallel operand of a low-precision GEMM is cast where it is cut and gathered in its bits: the
// input of a column-parallel linear, the output gradient of a row-parallel one (Transformer Engine
// module/layernorm_linear.py and module/base.py, gather_along_first_dim with a quantizer; torchao
// float8/float8_tensor_parallel.py, tensor-wise scales only). `ready` is what the GEMM waits for.
bool Builder::gathers_low(OpList& list, const Node& node, const Ready& ready, bool gradient) {
  const Precision precision = input_.key.precision;
  const LinearSpec& spec = node.linear;
  if (precision == Precision::bf16 || precision == Precision::fp8_row || !spec.low_precision ||
      spec.groups > 0)
    return false;
  const double wire = low_bits(precision) / 16 * (gradient && by_blocks(precision) ? 2 : 1);
  bool any = false;
  const auto mark = [&](std::int16_t index) {
    if (index < 0) return;
    Op& op = list[static_cast<std::size_t>(index)];
    const auto* collective = std::get_if<CollectiveWork>(&op.work);
    if (!collective || collective->kind != Collective::all_gather) return;
    op.wire = wire, any = true;
  };
  for (const std::int16_t index : ready.before) mark(index);
  mark(ready.during);
  return any;
}

// What the ops from `from` on, the products of one operand, cast of it: a rank's part where it is gathered
// afterwards, and once where the products share the cast.
void Builder::share_cast(OpList& list, std::size_t from, const Node& node, bool gathered, bool shared) {
  const double part = gathered ? 1.0 / ranks(at(node.inputs[0]).spec.scope) : 1.0;
  for (std::size_t i = from; i < list.size(); ++i) list[i].cast = shared && i > from ? 0 : part;
}

}  // namespace tw
