// The Mamba-2 mixer (Dao and Gu 2024, arXiv 2405.21060, sections 6 and 7) as Megatron-Core runs it
// (ssm/mamba_mixer.py, memory-efficient path): one projection to z, x, B, C and dt; a causal convolution
// over x, B and C; the scan by chunks, gated by z; a norm over each group; the projection out. Heads and
// groups are cut over tp; over cp an all-to-all trades the sequence for heads and back.
#include <cmath>

#include "costmodel/blocks/block.hpp"

namespace tw::blocks {
namespace {

bool applies(const LayerKind& kind) {
  return kind.mamba.has_value();
}

// Of one token on one rank, by the five kernels of a forward and the eleven of a backward that runs the
// first four again (mamba_ssm 2.2, ops/triton/ssd_combined.py). Channels x, z and their gradients and
// the outputs are bf16; dt, decays, products C B of a chunk and its states are fp32, states that are
// passed on bf16.
struct Traffic {
  double forward = 0, backward = 0;
  double forward_flops = 0, backward_flops = 0;
};

Traffic scan_traffic(const Mamba& m, double tp) {
  const double inner = static_cast<double>(m.inner()) / tp, shared = static_cast<double>(m.shared()) / tp;
  const double heads = m.heads / tp, groups = m.groups / tp, chunk = m.chunk;
  const double channels = 2 * inner, inputs = 2 * shared;  // one pass over x; over B or C
  const double steps = 4 * heads, scores = 4 * groups * chunk, states = 4 * inner * m.state / chunk;
  Traffic t;
  // Steps and decays; states of chunks (reads x, B); states passed on (reads 1, writes 1/2); C B; the scan
  // (reads x, z, C, states passed on; writes the output with and without its gate).
  t.forward = 2.5 * steps + (channels + inputs + 2 * steps + states) + 1.5 * states + (2 * inputs + scores) +
              (4 * channels + inputs + 2 * steps + scores + states / 2);
  // The first four again; of the gate (3 reads, 2 writes); of states (reads dy, C) and passed back (reads
  // 1.5, writes 1.5); of x (reads x, dy, B, C B, states; writes); of B (reads x, states), C (reads dy,
  // states passed on) and C B (reads x, dy; writes), gathered over the heads of a group in fp32; of B and
  // C through C B (each reads it and one of them); of decays (reads x, dy, C B).
  t.backward = 2.5 * steps + (channels + inputs + 2 * steps + states) + 1.5 * states + (2 * inputs + scores) +
               5 * channels + (channels + inputs + states) + 3 * states +
               (3 * channels + inputs + scores + states + 2 * steps) + (channels + 3 * inputs + states) +
               (channels + 3 * inputs + states / 2) + (2 * channels + scores) + 2 * (scores + 4 * inputs) +
               (2 * channels + scores + 2 * steps);
  // C B over the whole chunk, its product with x over the causal half, B x into states and C of states.
  const double scored = 2 * shared * chunk, mixed = inner * chunk, kept = 2 * inner * m.state;
  t.forward_flops = scored + mixed + 2 * kept;
  // Again: C B and the states. Gradients: two of each product.
  t.backward_flops = scored + kept + 2 * t.forward_flops;
  return t;
}

std::int16_t cut_weight(Builder& b, std::string_view name, std::int64_t elements) {
  return b.weight({name, elements, elements / b.input().key.tp, Scope::attention, false, false});
}

TensorId to_heads(Builder& b, std::string_view name, Operator what, TensorId x, const TensorSpec& out) {
  if (b.input().key.cp == 1) return x;
  const CollectiveWork work{Collective::all_to_all, attention_group(bit(Dim::cp)), Bytes(b.local_bytes(x))};
  return b.exchange({.name = name, .what = what, .out = out, .work = work, .term = Term::cp}, x);
}

TensorId scanned(Builder& b, const Mamba& m, TensorId projected) {
  const TensorSpec wide{
      .name = "conv", .rows = b.tokens(), .width = m.inner() + 2 * m.shared(), .place = cut(AxisName::heads)};
  const double pass = b.tokens() / b.input().key.tp * static_cast<double>(2 * wide.width);
  // The backward runs the convolution again, then reads its input and the gradient and writes one.
  const TensorId mixed = b.pointwise({.name = "conv",
                                      .out = wide,
                                      .forward_bytes = 2 * pass,
                                      .backward_bytes = 5 * pass,
                                      .keeps_input = true,
                                      .backward_launches = 2,
                                      .weight = cut_weight(b, "conv", wide.width * (m.conv + m.conv_bias))},
                                     {projected});
  const TensorSpec inner{
      .name = "scan", .rows = b.tokens(), .width = m.inner(), .place = cut(AxisName::heads)};
  const Traffic t = scan_traffic(m, b.input().key.tp);
  const double tokens = b.tokens(), kept = 2 * tokens * static_cast<double>(m.inner()) / b.input().key.tp;
  // Decay, step bias and skip of every head; the output before its gate is kept.
  return b.pointwise({.name = "scan",
                      .out = inner,
                      .forward_bytes = t.forward * tokens,
                      .backward_bytes = t.backward * tokens,
                      .forward_flops = t.forward_flops * tokens,
                      .backward_flops = t.backward_flops * tokens,
                      .term = Term::attention,
                      .launches = 5,
                      .backward_launches = 15,
                      .kept_bytes = std::llround(kept),
                      .weight = cut_weight(b, "scan", std::int64_t{3} * m.heads)},
                     {mixed});
}

TensorId emit(Builder& b, const LayerKind& kind, TensorId input) {
  const Mamba& m = *kind.mamba;
  const std::int64_t width = 2 * m.inner() + 2 * m.shared() + m.heads;
  TensorId x = b.linear({.name = "mamba_in", .out = width, .split = Split::column, .axis = AxisName::heads},
                        b.require(input, kWhole));
  const TensorSpec projected{
      .name = "mamba_in", .rows = b.tokens(), .width = width, .place = cut(AxisName::heads)};
  x = scanned(b, m, to_heads(b, "mamba_heads", Operator::spread_heads, x, projected));
  TensorSpec inner{
      .name = "mamba_norm", .rows = b.tokens(), .width = m.inner(), .place = cut(AxisName::heads)};
  x = to_heads(b, "mamba_sequence", Operator::gather_heads, x, inner);
  const double pass = static_cast<double>(b.local_bytes(x));
  x = b.pointwise({.name = "mamba_norm",
                   .out = inner,
                   .forward_bytes = 2 * pass,
                   .backward_bytes = 3 * pass,
                   .keeps_input = true,
                   .weight = cut_weight(b, "mamba_norm", m.inner())},
                  {x});
  return b.linear(
      {.name = "mamba_out", .out = b.model().hidden, .split = Split::row, .axis = AxisName::hidden}, x);
}

}  // namespace

extern constinit const Block mamba;
constinit const Block mamba{"mamba", 2, "Mamba-2 mixer: convolution and scan by chunks", applies, emit};

}  // namespace tw::blocks
