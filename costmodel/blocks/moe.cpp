// Routed experts (Switch, arXiv 2101.03961; dropless: MegaBlocks, arXiv 2211.15841) with experts over
// ep and each expert over etp, folded independently of attention (Liu et al. 2025, arXiv 2504.14960);
// optional shared experts beside them (DeepSeekMoE, arXiv 2401.06066).
#include <algorithm>
#include <cmath>

#include "costmodel/blocks/block.hpp"
#include "costmodel/blocks/ffn.hpp"

namespace tw::blocks {
namespace {

bool applies(const LayerKind& kind) {
  return kind.moe.has_value();
}

struct Routed {
  double sent = 0;      // copies that leave one rank
  double received = 0;  // rows that the busiest rank of ep gets
};

// Balanced, every rank receives what it sends; the busiest gets max/mean times that. A capacity
// factor pads or drops to the same count everywhere.
// Ranks of ep that hold the same tokens run their own experts on them and add up: nothing is sent.
bool sums_over_ep(const Builder& b) {
  return *b.kernels().replicated_experts && b.input().key.ep > 1;
}

Routed routed_rows(const Builder& b, const Moe& moe) {
  const double tokens = b.tokens() / b.input().key.tp;
  const Routing& routing = b.input().routing;
  Routed rows;
  rows.sent = tokens * moe.top_k * (routing.capacity_factor > 0 ? routing.capacity_factor : 1.0);
  if (sums_over_ep(b)) rows.sent /= b.input().key.ep;
  rows.received = rows.sent * (routing.capacity_factor > 0 ? 1.0 : routing.max_over_mean);
  return rows;
}

DispatchWork dispatch_work(const Builder& b, const Moe& moe, double rows) {
  const double bytes = rows * b.model().hidden * static_cast<double>(size_of(DType::bf16));
  return {expert_group(bit(Dim::ep)), Bytes(static_cast<std::int64_t>(bytes)), static_cast<double>(moe.top_k),
          moe.groups > 1 ? static_cast<double>(moe.group_limit) : 0.0};
}

TensorSpec expert_rows(const Builder& b, std::string_view name, double rows, std::int64_t width,
                       Placement place) {
  return {.name = name,
          .rows = rows * b.input().key.etp,
          .width = width,
          .place = place,
          .scope = Scope::expert,
          .routed = true};
}

TensorId route(Builder& b, const Moe& moe, TensorId tokens) {
  const TensorId logits = b.linear({.name = "router",
                                    .out = moe.experts,
                                    .split = Split::replicated,
                                    .axis = AxisName::expert,
                                    .bias = moe.router_bias,
                                    .low_precision = false},
                                   tokens);
  const double rows = b.tokens() / b.input().key.tp;
  const double scores = rows * moe.experts * static_cast<double>(size_of(DType::fp32));
  return b.pointwise({.name = "top_k",
                      .what = Operator::choose,
                      .out = {.name = "top_k",
                              .rows = b.tokens(),
                              .width = moe.top_k,
                              .place = cut(AxisName::seq),
                              .element_bytes = 8},
                      .forward_bytes = 3 * scores,
                      .backward_bytes = 3 * scores,
                      .keeps_output = true,
                      .launches = 4,
                      .routes = true,
                      .kept_bytes = std::llround(scores)},  // all probabilities, for their gradient
                     {logits});
}

// Rows in the order of experts; with several experts per rank, rows that arrive by source are sorted
// once more by expert.
TensorId reorder(Builder& b, Operator what, TensorId x, const TensorSpec& out, double bytes) {
  return b.pointwise({.name = what == Operator::sort ? "sort" : "unsort",
                      .what = what,
                      .out = out,
                      .forward_bytes = bytes,
                      .backward_bytes = bytes,
                      .moves_rows = true},
                     {x});
}

TensorId experts(Builder& b, const Moe& moe, TensorId arrived, double rows) {
  const PassKey& key = b.input().key;
  const std::int64_t local = moe.experts / key.ep, hidden = b.model().hidden;
  const double bytes = 2 * rows * key.etp * static_cast<double>(hidden * 2);
  TensorId x = b.require(arrived, kWhole);
  const bool sorts = local > 1 && key.ep > 1 && !sums_over_ep(b);
  if (sorts) x = reorder(b, Operator::sort, x, expert_rows(b, "sorted", rows, hidden, kWhole), bytes);
  const std::int64_t projections = moe.gated ? 2 : 1;
  const LinearSpec grouped{.name = "expert_up",
                           .split = Split::column,
                           .axis = AxisName::ffn,
                           .bias = moe.bias,
                           .term = Term::expert_gemm,
                           .groups = moe.experts,
                           .groups_local = local};
  LinearSpec up = grouped;
  up.out = projections * moe.ffn, up.stacked = projections;
  const TensorId gate_up = b.linear(up, x);
  const TensorId act = activation(b, gate_up, expert_rows(b, "activation", rows, moe.ffn, cut(AxisName::ffn)),
                                  moe.gated, Module::moe_act);
  LinearSpec down = grouped;
  down.name = "expert_down", down.out = hidden, down.split = Split::row, down.axis = AxisName::hidden;
  TensorId y = b.linear(down, act);
  if (sorts) {
    TensorSpec like = expert_rows(b, "unsorted", rows, hidden, key.etp > 1 ? kPartial : kWhole);
    y = reorder(b, Operator::unsort, y, like, bytes);
  }
  return b.require(y, cut(AxisName::batch));
}

// Fused, a permutation reads or writes the tokens once and the routed rows once, each way.
PaddedPermutation permutation(const Builder& b, double sent) {
  const std::optional<PaddedPermutation>& padded = b.kernels().padded_permutation;
  if (padded && b.input().routing.capacity_factor > 0) return *padded;
  const double fused = 1 + b.tokens() / b.input().key.tp / sent;
  return {fused, fused, fused, fused};
}

TensorId routed(Builder& b, const Moe& moe, TensorId input) {
  const PassKey& key = b.input().key;
  const std::int64_t hidden = b.model().hidden;
  const TensorId tokens = b.require(input, cut(AxisName::seq));
  const TensorId choice = route(b, moe, tokens);
  const HostMechanisms& host = b.input().profile->host;
  const std::int32_t local = moe.experts / key.ep;
  // Padded to a capacity, the counts are known (Megatron-Core moe/token_dispatcher.py, drop_and_pad).
  const bool counted = b.input().routing.capacity_factor <= 0;
  if (const std::int32_t waits = host.sync_per_moe_layer + local * *host.sync_per_expert;
      counted && waits > 0)
    b.host_sync("expert_counts", waits);
  const Routed rows = routed_rows(b, moe);
  const PaddedPermutation passes = permutation(b, rows.sent);
  const double pass = rows.sent * static_cast<double>(hidden * 2);
  b.balance(choice);
  TensorId x = b.pointwise({.name = "permute",
                            .what = Operator::permute,
                            .out = expert_rows(b, "permuted", rows.sent, hidden, cut(AxisName::batch)),
                            .forward_bytes = passes.permute_forward * pass,
                            .backward_bytes = passes.permute_backward * pass,
                            .routes = true},
                           {tokens, choice});
  if (key.ep > 1 && !sums_over_ep(b)) {
    x = b.exchange({.name = "dispatch",
                    .what = Operator::dispatch,
                    .out = expert_rows(b, "dispatched", rows.received, hidden, cut(AxisName::batch)),
                    .work = dispatch_work(b, moe, rows.received)},
                   x);
  }
  TensorId y = experts(b, moe, x, rows.received);
  if (key.ep > 1 && !sums_over_ep(b)) {
    y = b.exchange({.name = "combine",
                    .what = Operator::combine,
                    .out = expert_rows(b, "combined", rows.sent, hidden, cut(AxisName::batch)),
                    .work = dispatch_work(b, moe, rows.received)},
                   y);
  }
  const TensorSpec out{.name = "unpermute", .rows = b.tokens(), .width = hidden, .place = cut(AxisName::seq)};
  y = b.pointwise({.name = "unpermute",
                   .what = Operator::unpermute,
                   .out = out,
                   .forward_bytes = passes.unpermute_forward * pass,
                   .backward_bytes = passes.unpermute_backward * pass,
                   .routes = true},
                  {y});
  if (!sums_over_ep(b)) return y;
  const CollectiveWork sum{Collective::all_reduce, expert_group(bit(Dim::ep)), Bytes(b.local_bytes(y))};
  return b.exchange({.name = "expert_sum", .what = Operator::combine, .out = out, .work = sum}, y);
}

TensorId shared(Builder& b, const Moe& moe, TensorId input) {
  const std::int64_t projections = moe.gated ? 2 : 1;
  if (moe.shared_gate)
    b.weight({"shared_gate", b.model().hidden, b.model().hidden, Scope::attention, true, false});
  const TensorId up = b.linear({.name = "shared_up",
                                .out = projections * moe.shared_ffn,
                                .split = Split::column,
                                .axis = AxisName::ffn,
                                .parts = moe.gated ? Widths{moe.shared_ffn, moe.shared_ffn} : Widths{}},
                               b.require(input, kWhole));
  const TensorSpec middle{
      .name = "activation", .rows = b.tokens(), .width = moe.shared_ffn, .place = cut(AxisName::ffn)};
  const TensorId act = activation(b, up, middle, moe.gated, Module::mlp);
  return b.linear(
      {.name = "shared_down", .out = b.model().hidden, .split = Split::row, .axis = AxisName::hidden}, act);
}

TensorId emit(Builder& b, const LayerKind& kind, TensorId input) {
  const Moe& moe = *kind.moe;
  b.enter(Module::mlp);
  TensorId y = b.require(routed(b, moe, input), b.residual());
  if (moe.shared_ffn > 0) y = b.add(y, b.require(shared(b, moe, input), b.residual()));
  return y;
}

}  // namespace

extern constinit const Block moe;
constinit const Block moe{"moe", 11, "routed experts with optional shared experts", applies, emit};

}  // namespace tw::blocks
