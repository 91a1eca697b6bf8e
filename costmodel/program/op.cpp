#include "costmodel/program/op.hpp"

#include <fmt/format.h>

#include <cmath>

namespace tw {
namespace {

struct TermRow {
  Term term;
  std::string_view name, help;
};

constexpr TermRow kTermRows[] = {
    {Term::gemm, "gemm", "dense matrix products, forward and backward"},
    {Term::expert_gemm, "expert_gemm", "grouped matrix products of experts"},
    {Term::attention, "attention", "attention kernels, state-space scans"},
    {Term::elementwise, "elementwise", "norms, activations, rotary, residuals, routing, permutation"},
    {Term::recompute, "recompute", "forward work done again in the backward"},
    {Term::embedding, "embedding", "embedding look-up and its gradient"},
    {Term::head, "head", "LM head and loss"},
    {Term::tp, "tp", "tensor- and sequence-parallel collectives"},
    {Term::cp, "cp", "context-parallel exchange of keys and values"},
    {Term::ep, "ep", "expert dispatch and combine, expert tensor parallelism"},
    {Term::gather, "gather", "parameter gathers (ZeRO)"},
    {Term::reduce, "reduce", "gradient reduction over data parallelism"},
    {Term::send, "send", "activations and gradients between pipeline stages"},
    {Term::bubble, "bubble", "pipeline stages waiting for work"},
    {Term::optimizer, "optimizer", "gradient norm, clipping and the optimizer step"},
    {Term::host, "host", "waiting for the host to launch kernels or read results"},
    {Term::interference, "interference", "compute slowed by collectives that run beside it"},
    {Term::stragglers, "stragglers", "waiting for the slowest GPU of every group"},
};
static_assert(std::size(kTermRows) == kTerms);

std::string_view name_of(Stream stream) {
  constexpr std::string_view names[] = {"compute", "network", "state"};
  return names[static_cast<std::size_t>(stream)];
}

std::string_view name_of(Collective kind) {
  constexpr std::string_view names[] = {"all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send"};
  return names[static_cast<std::size_t>(kind)];
}

std::string name_of(GroupKey key) {
  constexpr std::string_view names[] = {"tp", "cp", "dp", "pp", "etp", "ep", "edp"};
  std::string text;
  for (std::size_t i = 0; i < std::size(names); ++i) {
    if (key.dims & (1u << i)) text += (text.empty() ? "" : "*") + std::string(names[i]);
  }
  return text;
}

std::string_view name_of(GemmPass pass) {
  constexpr std::string_view names[] = {"forward", "dgrad", "wgrad"};
  return names[static_cast<std::size_t>(pass)];
}

struct Describe {
  std::string operator()(const GemmShape& s) const {
    return fmt::format("gemm {} m={} n={} k={}{}", name_of(s.pass), s.m, s.n, s.k,
                       s.accumulate_fp32 ? " fp32+=" : "");
  }
  std::string operator()(const GroupedGemmShape& s) const {
    return fmt::format("grouped_gemm {} groups={} rows={} n={} k={}{}", name_of(s.pass), s.groups, s.rows,
                       s.n, s.k, s.accumulate_fp32 ? " fp32+=" : "");
  }
  std::string operator()(const AttentionShape& s) const {
    return fmt::format("attention {} batch={} heads={}/{} q={} kv={} dim={}/{} pairs={}",
                       s.backward ? "backward" : "forward", s.batch, s.heads, s.kv_heads, s.q_len, s.kv_len,
                       s.head_dim, s.value_dim, s.pairs);
  }
  std::string operator()(const ScanWork& s) const {
    return fmt::format("scan flops={:.0f} bytes={}", s.flops.value, s.bytes.count);
  }
  std::string operator()(const Elementwise& s) const {
    return fmt::format("elementwise bytes={}", s.bytes.count);
  }
  std::string operator()(const CollectiveWork& s) const {
    return fmt::format("{} over {} bytes={}", name_of(s.kind), name_of(s.group), s.bytes.count);
  }
  std::string operator()(const DispatchWork& s) const {
    return fmt::format("dispatch over {} bytes={} copies={}", name_of(s.group), s.bytes.count, s.copies);
  }
  std::string operator()(const RingWork& s) const {
    return fmt::format("ring over {} hop_bytes={} hops={}", name_of(s.group), s.bytes.count, s.hops);
  }
  std::string operator()(const Synchronise&) const { return "host waits for the device"; }
};

}  // namespace

std::string_view name_of(Term term) {
  return kTermRows[static_cast<std::size_t>(term)].name;
}
std::string_view help_of(Term term) {
  return kTermRows[static_cast<std::size_t>(term)].help;
}

bool is_exchange(Term term) {
  switch (term) {
    case Term::tp:
    case Term::cp:
    case Term::ep:
    case Term::gather:
    case Term::reduce:
    case Term::send:
      return true;
    default:
      return false;
  }
}

Work pointwise_work(double bytes, double flops, bool backward) {
  const Bytes moved(std::llround(bytes));
  return flops > 0 ? Work(ScanWork{Flops(flops), moved}) : Work(Elementwise{moved, backward});
}

std::string to_string(const Op& op) {
  std::string line = fmt::format("{} [{}] {}: {}", op.name, name_of(op.stream), name_of(op.term),
                                 std::visit(Describe{}, op.work));
  if (op.share != 1) line += fmt::format(" x{:g}", op.share);
  if (op.weight_half) line += " (weight half)";
  std::string waits;
  for (const std::int16_t index : op.after) {
    if (index >= 0) waits += fmt::format("{}{}", waits.empty() ? "" : ",", index);
  }
  return waits.empty() ? line : line + " after " + waits;
}

std::string to_string(const OpList& ops) {
  std::string text;
  for (std::size_t i = 0; i < ops.size(); ++i) text += fmt::format("{:2} {}\n", i, to_string(ops[i]));
  return text;
}

}  // namespace tw
