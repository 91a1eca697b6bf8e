#include "costmodel/price.hpp"

#include <algorithm>
#include <cmath>

#include "costmodel/dispatch.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

// One stable number per kernel shape (FNV-1a over its fields).
class ShapeHash {
 public:
  ShapeHash& operator<<(std::int64_t value) {
    state_ = (state_ ^ static_cast<std::uint64_t>(value)) * 0x100000001b3u;
    state_ ^= state_ >> 29;
    return *this;
  }
  ShapeHash& operator<<(std::string_view text) {
    for (const char c : text) *this << static_cast<std::int64_t>(c);
    return *this;
  }
  ShapeHash& operator<<(double value) { return *this << static_cast<std::int64_t>(std::llround(value * 64)); }
  std::uint64_t value() const { return state_; }

 private:
  std::uint64_t state_ = 0xcbf29ce484222325u;
};

std::uint64_t hash_of(const Op& op) {
  ShapeHash h;
  h << static_cast<std::int64_t>(op.work.index());
  if (const auto* g = std::get_if<GemmShape>(&op.work)) {
    h << g->m << g->n << g->k << static_cast<std::int64_t>(g->pass)
      << static_cast<std::int64_t>(g->accumulate_fp32);
  } else if (const auto* e = std::get_if<GroupedGemmShape>(&op.work)) {
    h << e->groups << e->rows << e->max_over_mean << e->n << e->k << static_cast<std::int64_t>(e->pass)
      << static_cast<std::int64_t>(e->accumulate_fp32);
  } else if (const auto* a = std::get_if<AttentionShape>(&op.work)) {
    h << a->batch << a->heads << a->kv_heads << a->q_len << a->kv_len << a->head_dim << a->value_dim
      << a->pairs << static_cast<std::int64_t>(a->backward);
  } else if (const auto* m = std::get_if<Elementwise>(&op.work)) {
    h << m->bytes.count << static_cast<std::int64_t>(m->backward) << op.name;
  } else if (const auto* s = std::get_if<ScanWork>(&op.work)) {
    h << s->flops.value << s->bytes.count;
  }
  return h.value();
}

const GroupLinks& links_for(const PassLinks& links, GroupKey group) {
  if (group.scope == Scope::expert) return group.dims == bit(Dim::ep) ? links.ep : links.etp;
  return group.dims == bit(Dim::cp) ? links.cp : links.tp;
}

// The network op's time grows while compute runs beside it; blocking ones run alone.
bool runs_beside_compute(const Op& op) {
  return std::holds_alternative<RingWork>(op.work) || op.share != 1;
}

double message_bytes(const Op& op) {
  if (const auto* c = std::get_if<CollectiveWork>(&op.work)) return op.wire * c->bytes.to_double();
  if (const auto* d = std::get_if<DispatchWork>(&op.work)) return d->bytes.to_double();
  const auto* r = std::get_if<RingWork>(&op.work);
  return r ? r->bytes.to_double() : 0;
}

// One call of a linear module's code: its forward, or its backward with both gradients.
bool enters_linear(const Op& op) {
  const auto* gemm = std::get_if<GemmShape>(&op.work);
  const auto* grouped = std::get_if<GroupedGemmShape>(&op.work);
  if (!gemm && !grouped) return false;
  return (gemm ? gemm->pass : grouped->pass) != GemmPass::wgrad;
}

}  // namespace

void slow_beside_compute(PricedOp& op, const Calibration& calibration, double bytes) {
  const Calibration::Beside beside = calibration.beside(bytes, op.network_tier);
  op.seconds *= beside.network;
  if (beside.lost) op.lost = static_cast<float>(*beside.lost);
}

GroupLinks links_of(const Fabric& fabric, const std::vector<Axis>& axes) {
  std::array<GroupAxis, 8> plain;
  std::size_t count = 0;
  for (const Axis& axis : axes) plain[count++] = {axis.size, axis.stride};
  return fabric.links(std::span<const GroupAxis>(plain.data(), count));
}

std::string unpriced_because(Precision precision, const Gpu& gpu, const Calibration& calibration) {
  if (precision == Precision::bf16) return {};
  const std::string name(name_of(precision));
  if (!calibration.knows_recipe(name))
    return name + " has no rule in calibration " + calibration.name() + "; legal: bf16";
  const FlopsPerSec peak = precision == Precision::nvfp4 ? *gpu.fp4 : *gpu.fp8;
  const bool blackwell_only = precision == Precision::mxfp8 || precision == Precision::nvfp4;
  const bool has = peak.value > 0 && (!blackwell_only || gpu.fp4->value > 0);
  return has ? std::string() : gpu.title + " has no tensor cores for " + name;
}

PassLinks pass_links(const Machine& machine, const PassKey& key) {
  // Groups inside a stage keep their strides whatever dp and pp are, so all other ranks may be dp.
  Layout layout;
  layout.tp = key.tp, layout.cp = key.cp, layout.ep = key.ep, layout.etp = key.etp;
  layout.dp = machine.cluster->gpus / (key.tp * key.cp);
  const RankGrid grid(layout);
  const auto shape = [&](GroupKey group) { return links_of(*machine.fabric, grid.group_axes(group)); };
  return {shape(attention_group(bit(Dim::tp))), shape(attention_group(bit(Dim::cp))),
          shape(expert_group(bit(Dim::ep))), shape(expert_group(bit(Dim::etp)))};
}

double Pricer::distinct_nodes(double nodes, double copies, double limit) {
  const double distinct = nodes * (1 - std::pow(1 - 1 / nodes, copies));
  return limit > 0 ? std::min(distinct, limit) : distinct;
}

Estimate Pricer::dispatch(const DispatchWork& work, const GroupLinks& links, Dispatch how) const {
  return dispatch_time(*machine_.calibration, links, dispatch_bytes(work, links, how), how);
}

Estimate Pricer::kernel(const Op& op) {
  const std::uint64_t key = hash_of(op);
  if (const auto found = known_.find(key); found != known_.end()) return found->second;
  const Calibration& k = *machine_.calibration;
  Estimate out;
  if (const auto* g = std::get_if<GemmShape>(&op.work)) out = k.gemm(*g);
  if (const auto* e = std::get_if<GroupedGemmShape>(&op.work)) out = k.grouped_gemm(*e);
  if (const auto* a = std::get_if<AttentionShape>(&op.work)) out = k.attention(*a);
  if (const auto* m = std::get_if<Elementwise>(&op.work)) out = k.elementwise(m->bytes, op.name, m->backward);
  if (const auto* s = std::get_if<ScanWork>(&op.work)) out = k.scan(s->flops, s->bytes);
  out.time = out.time * k.sustained(out.curve);
  if (out.curve == CurveId::gemm || out.curve == CurveId::grouped_gemm)
    out.time = out.time * k.library(*machine_.profile->kernels.gemm_library);
  known_.emplace(key, out);
  return out;
}

// Elements cast for one GEMM: the forward casts its input, the dgrad the gradient of its output; the
// wgrad reads the transposed copies that both left. Weights are cast once a step, or for every GEMM.
static double cast_elements(const Op& op, bool weights) {
  const Work& work = op.work;
  const auto of = [&](double m, double n, double k, double groups, GemmPass pass) {
    if (pass == GemmPass::wgrad) return 0.0;
    return op.cast * m * (pass == GemmPass::forward ? k : n) + (weights ? groups * n * k : 0.0);
  };
  const auto size = [](std::int64_t value) { return static_cast<double>(value); };
  if (const auto* g = std::get_if<GemmShape>(&work))
    return of(size(g->m), size(g->n), size(g->k), 1, g->pass);
  const auto& e = std::get<GroupedGemmShape>(work);
  return of(size(e.groups) * e.rows, size(e.n), size(e.k), size(e.groups), e.pass);
}

// fp32 and tf32 products: the bf16 kernel of the same shape, slower by the data sheet's ratio. derived:
// both reach the same share of their peaks.
Estimate Pricer::in_math(const Op& op) {
  const Gpu& gpu = machine_.cluster->device;
  Estimate out = kernel(op);
  const FlopsPerSec peak = op.math == Math::fp32 ? *gpu.fp32 : *gpu.tf32;
  TW_CHECK(peak.value > 0);
  out.time = out.time * std::max(gpu.bf16 / peak, 1.0);
  out.provenance = Provenance::derived;
  return out;
}

Estimate Pricer::low_precision(const Op& op) {
  const Gpu& gpu = machine_.cluster->device;
  const FlopsPerSec peak = precision_ == Precision::nvfp4 ? *gpu.fp4 : *gpu.fp8;
  const KernelMechanisms& kernels = machine_.profile->kernels;
  const bool simulated = *kernels.emulated && std::holds_alternative<GemmShape>(op.work);
  const double casts = *kernels.expert_launches ? op.launches : 1;
  return machine_.calibration->low_precision(
      name_of(precision_), kernel(op), simulated ? 0 : peak / gpu.bf16,
      {cast_elements(op, *kernels.cast_weights), *kernels.cast_bytes, casts});
}

Estimate Pricer::estimate(const Op& op, const PassLinks& links) {
  const Calibration& k = *machine_.calibration;
  if (const auto* c = std::get_if<CollectiveWork>(&op.work)) {
    const Bytes bytes(std::llround(op.wire * c->bytes.to_double()));
    Estimate out = k.collective(c->kind, links_for(links, c->group), bytes);
    if (c->copied.count > 0) out.time = out.time + k.elementwise(c->copied).time;
    return out;
  }
  if (const auto* d = std::get_if<DispatchWork>(&op.work)) {
    return dispatch(*d, links_for(links, d->group), dispatch_);
  }
  if (const auto* r = std::get_if<RingWork>(&op.work)) {
    Estimate hop = k.collective(Collective::send, links_for(links, r->group), r->bytes);
    hop.time = hop.time * r->hops;
    return hop;
  }
  if (op.low_precision && precision_ != Precision::bf16) return low_precision(op);
  if (op.math != Math::bf16) return in_math(op);
  if (std::holds_alternative<Synchronise>(op.work))
    return {k.synchronise(), 0, CurveId::host, Provenance::derived, false};
  return kernel(op);
}

// The host's code of a routed layer: router, before the token counts are read back, dispatch and combine
// after it. derived: a third each.
constexpr double kRoutedParts = 3;

PricedOp Pricer::price(const Op& op, const PassLinks& links) {
  const Estimate estimate = this->estimate(op, links);
  const HostMechanisms& host = machine_.profile->host;
  PricedOp out;
  out.seconds = estimate.time.value * op.share;
  out.curve = estimate.curve;
  out.network_tier = estimate.curve == CurveId::inter_collective;
  if (runs_beside_compute(op) && op.stream != Stream::compute && !*host.one_stream)
    slow_beside_compute(out, *machine_.calibration, message_bytes(op));
  if (op.stream == Stream::network && !*host.one_stream && !std::holds_alternative<Synchronise>(op.work))
    out.seconds += machine_.calibration->handover().value;
  if (out.curve == CurveId::gemm || out.curve == CurveId::grouped_gemm)
    out.yields = static_cast<float>(machine_.calibration->gemm_yields());
  if (!host.graphs) {
    out.host = host.per_operation->value + host.per_kernel.value * op.launches + host.per_linear.value * enters_linear(op) +
               host.per_routing->value / kRoutedParts * op.routings +
               host.per_checkpoint->value * op.checkpoints;
  }
  out.spread = static_cast<float>(estimate.spread);
  out.term = op.term;
  out.stream = *host.one_stream ? Stream::compute : op.stream;
  out.synchronises = std::holds_alternative<Synchronise>(op.work);
  out.beside = *machine_.profile->kernels.dispatch_overlap && (op.term == Term::ep || out.synchronises);
  out.weight_half = op.weight_half;
  out.provenance = estimate.provenance;
  out.extrapolated = estimate.extrapolated;
  out.after = op.after;
  return out;
}

PricedList Pricer::price(const OpList& ops, std::int16_t output, const PassLinks& links) {
  PricedList list;
  list.output = output;
  list.ops.reserve(ops.size());
  for (const Op& op : ops) list.ops.push_back(price(op, links));
  return list;
}

namespace {

double gemm_share(const PricedLayer& layer) {
  double gemms = 0, all = 0;
  for (const PricedList* list : {&layer.forward, &layer.backward}) {
    for (const PricedOp& op : list->ops) {
      if (op.stream != Stream::compute) continue;
      all += op.seconds;
      if (op.curve == CurveId::gemm || op.curve == CurveId::grouped_gemm) gemms += op.seconds;
    }
  }
  return all > 0 ? gemms / all : 0;
}

}  // namespace

PricedLayer Pricer::price(const LayerWork& work, const PassLinks& links) {
  PricedLayer layer{price(work.forward, work.forward_output, links),
                    price(work.backward, work.backward_output, links)};
  const double share = gemm_share(layer);
  for (PricedList* list : {&layer.forward, &layer.backward}) {
    for (PricedOp& op : list->ops) op.seconds *= machine_.calibration->sustained_in_mix(op.curve, share);
  }
  return layer;
}

}  // namespace tw
