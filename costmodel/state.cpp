#include "costmodel/state.hpp"

#include <algorithm>
#include <cmath>

namespace tw {
namespace {

struct Groups {
  GroupLinks shard, replica;
};

struct StateGroups {
  Groups attention, expert;
};

// Bytes need their sizes alone.
StateGroups state_groups(const Layout& layout, const Machine& machine, bool priced) {
  const auto links = [&](const std::vector<Axis>& axes) {
    if (priced) return links_of(*machine.fabric, axes);
    GroupLinks sized;
    for (const Axis& axis : axes) sized.ranks *= axis.size;
    return sized;
  };
  const auto of = [&](Scope scope) {
    return Groups{links(state_shard_group(layout, scope)), links(state_replica_group(layout, scope))};
  };
  return {of(Scope::attention), of(Scope::expert)};
}

struct Traffic {
  const Layout& layout;
  const Machine& machine;
  const StateGroups& groups;
  const Training& training;
  const StateMechanisms& state() const { return state_of(*machine.profile, layout.zero); }
  // Adapters are kept, summed and updated in their own format; all weights in the framework's.
  std::int64_t size(DType framework) const {
    return adapts(training) ? size_of(*training.lora->math) : size_of(framework);
  }

  void add(PricedOp& op, Collective kind, const GroupLinks& links, double bytes) const {
    if (links.ranks <= 1 || bytes <= 0) return;
    const Estimate e = machine.calibration->collective(kind, links, Bytes(std::llround(bytes)));
    op.seconds += e.time.value;
    op.spread = std::max(op.spread, static_cast<float>(e.spread));
    op.curve = std::max(op.curve, e.curve);
    op.network_tier = op.network_tier || links.nodes > 1;
    op.provenance = std::max(op.provenance, e.provenance);
    op.extrapolated = op.extrapolated || e.extrapolated;
  }
  // Reduce-scatter over the shard group, then all-reduce of the shard over the replicas.
  void add_reduce(PricedOp& op, const Groups& groups_of, std::int64_t elements) const {
    const double bytes = static_cast<double>(elements * size_of(state().reduce));
    if (layout.zero >= 1) add(op, Collective::reduce_scatter, groups_of.shard, bytes);
    const double left = layout.zero >= 1 ? bytes / groups_of.shard.ranks : bytes;
    add(op, Collective::all_reduce, groups_of.replica, left);
  }
  // Issued rank by rank before one of the layer's collectives can start.
  double issued(const LocalWeights& weights, double rank_ops) const {
    const double ranks = std::max(weights.attention > 0 ? groups.attention.shard.ranks : 0,
                                  weights.expert > 0 ? groups.expert.shard.ranks : 0);
    return ranks * rank_ops * state().gather_calls * machine.profile->host.per_kernel.value;
  }
  PricedOp reduce(const LocalWeights& weights) const {
    PricedOp op;
    op.term = Term::reduce, op.stream = Stream::state;
    add_reduce(op, groups.attention, weights.attention);
    add_reduce(op, groups.expert, weights.expert);
    op.seconds += issued(weights, state().reduce_rank_ops);
    if (state().overlap_reduce)
      slow_beside_compute(
          op, *machine.calibration,
          static_cast<double>((weights.attention + weights.expert) * size_of(state().reduce)));
    return op;
  }
  PricedOp gather(const LocalWeights& weights) const {
    PricedOp op;
    op.term = Term::gather, op.stream = Stream::state;
    if (layout.zero == 0) return op;
    double bytes = 0;  // of the larger kind of weights
    const auto one_call = [&](const GroupLinks& links, std::int64_t trained, std::int64_t frozen) {
      const std::int64_t all = trained * size(state().gather) + frozen * size_of(DType::bf16);
      const double each = static_cast<double>(all) / state().gather_calls;
      add(op, Collective::all_gather, links, each);
      bytes = std::max(bytes, each);
    };
    one_call(groups.attention.shard, weights.attention, weights.frozen_attention);
    one_call(groups.expert.shard, weights.expert, weights.frozen_expert);
    op.seconds *= state().gather_calls;
    op.seconds += issued(weights, state().gather_rank_ops);
    op.seconds = std::max(op.seconds, from_host(weights));
    if (state().overlap_gather) slow_beside_compute(op, *machine.calibration, bytes);
    return op;
  }

  // Gathers of a layer in a backward: one, and again what its recomputation released.
  double backward_gathers() const { return 1 + (layout.recompute.full ? *state().regathered : 0); }
  PricedOp again(PricedOp gather) const {
    gather.seconds *= backward_gathers();
    return gather;
  }

  // Shards that wait in host memory are copied in under the gather of the layer before.
  double from_host(const LocalWeights& w) const {
    if (!*state().on_host || layout.zero < 3) return 0;
    const double own = static_cast<double>(w.attention + w.frozen_attention) / groups.attention.shard.ranks +
                       static_cast<double>(w.expert + w.frozen_expert) / groups.expert.shard.ranks;
    const double bytes = own * static_cast<double>(size_of(state().gather));
    return machine.calibration->host_copy(Bytes(std::llround(bytes))).time.value;
  }
};

double part(std::int64_t attention, const Groups& a, std::int64_t expert, const Groups& e, bool cut) {
  if (!cut) return static_cast<double>(attention + expert);
  return static_cast<double>(attention) / a.shard.ranks + static_cast<double>(expert) / e.shard.ranks;
}

// Which traffic every micro-batch has, and whether gradients are kept cut: summed over micro-batches
// before they are reduced, they are whole (no-sync; Zhao et al. 2023, arXiv 2304.11277, section 3.3.3).
struct Schedule {
  bool gather_every, reduce_every, cut_gradients;
  bool whole;   // ZeRO-3 with stages that keeps what it gathered for the step
  bool priced;  // else bytes alone
};

// Until they are reduced, gradients are whole: added up in one buffer of the format that they are kept in.
// FSDP computes them in bf16 and copies them into the buffer that is reduced when the backward of a layer
// ends; that of the layer before is then on its way (torch/distributed/fsdp/_fully_shard,
// _fsdp_collectives.py, foreach_reduce). DeepSpeed reduces as soon as a bucket is full.
void fill_whole_gradients(KindState& out, const LocalWeights& w, const Traffic& t) {
  const StateMechanisms& s = t.state();
  const std::int64_t all = w.attention + w.expert, bucket = *s.gradient_bucket;
  const std::int64_t elements = bucket > 0 ? std::min(all, bucket) : all;
  const bool copies = *s.gradient_copies != GradientCopies::none;
  out.whole_gradient = elements * t.size(copies ? s.reduce : s.gradient);
  out.made_gradient = copies ? elements * size_of(DType::bf16) : out.whole_gradient;
}

// Bytes by ZeRO stage. With a low-precision copy: bf16 parameters, then fp32 master and two moments
// as optimizer state. Without: the parameters themselves are the master, and with ZeRO-2 a cut one beside
// what the first forward gathered (FSDP's SHARD_GRAD_OP; arXiv 2304.11277, section 3.2).
void fill_bytes(KindState& out, const LocalWeights& w, const Traffic& t, Schedule when) {
  const StateMechanisms& s = t.state();
  if (when.cut_gradients) fill_whole_gradients(out, w, t);
  const double own = part(w.attention, t.groups.attention, w.expert, t.groups.expert, t.layout.zero >= 1);
  out.owned = static_cast<std::int64_t>(std::ceil(own)) * t.size(s.reduce);
  const auto bytes = [&](DType dtype, bool cut) {
    const double elements = part(w.attention, t.groups.attention, w.expert, t.groups.expert, cut);
    return static_cast<std::int64_t>(std::ceil(elements)) * t.size(dtype);
  };
  const auto frozen = [&](bool cut) {
    const double elements =
        part(w.frozen_attention, t.groups.attention, w.frozen_expert, t.groups.expert, cut);
    return static_cast<std::int64_t>(std::ceil(elements)) * size_of(DType::bf16);
  };
  const int zero = when.whole ? 2 : t.layout.zero;
  if (adapts(t.training)) {  // no copy of anything: adapters in their own format, the base in bf16
    out.parameters = bytes(s.master, zero >= 3) + frozen(zero >= 3);
    out.gradients = bytes(s.gradient, when.cut_gradients);
    out.moments = 2 * bytes(s.moments, zero >= 1);
    if (zero >= 3) out.gathered = bytes(s.gather, false) + frozen(false);
    if (*s.on_host && zero >= 3) out.parameters = out.moments = 0;
    return;
  }
  out.parameters = bytes(s.low_precision_copy ? DType::bf16 : s.master, zero >= 3);
  if (zero == 2 && !s.low_precision_copy) out.parameters = bytes(s.master, true) + bytes(s.gather, false);
  // Where they stay whole for a step, their shards come from the pool of the stream that reduces them.
  out.gradients = bytes(s.gradient, when.cut_gradients) + (when.whole ? bytes(s.gradient, true) : 0);
  out.moments = 2 * bytes(s.moments, zero >= 1) + (s.low_precision_copy ? bytes(s.master, zero >= 1) : 0);
  if (t.layout.offload == Offload::optimizer) out.moments = 0;
  if (t.layout.zero >= 3) out.gathered = bytes(s.gather, false);  // of its collective, where it stays whole
  if (*s.on_host && zero >= 3) out.parameters = out.moments = 0;
}

// One pass of the optimizer: reads the gradient; reads and writes master and both moments; writes the
// low-precision copy (Kingma and Ba 2015 with a master copy, Micikevicius et al. 2018). Offloaded, the
// gradient goes to the host and the new parameter comes back.
double optimizer_seconds(const LocalWeights& w, const Traffic& t) {
  const StateMechanisms& s = t.state();
  const double elements =
      part(w.attention, t.groups.attention, w.expert, t.groups.expert, t.layout.zero >= 1);
  const auto size = [&](DType dtype) { return static_cast<double>(t.size(dtype)); };
  if (t.layout.offload == Offload::optimizer) {
    const double moved = elements * (size(s.gradient) + size(DType::bf16));
    return t.machine.calibration->host_copy(Bytes(std::llround(moved))).time.value;
  }
  const double norm = size(s.gradient);  // the gradient is read once more for its norm
  // One kernel per operator of Adam: clip (2 gradient), decay (2 master), first moment scaled and added to (4
  // moments, 1 gradient), second alike, its root, scaled, less epsilon (6 moments), update (2 master, 2
  // moments).
  const double step = *s.fused_optimizer ? size(s.gradient) + 2 * size(s.master) + 4 * size(s.moments) +
                                               (s.low_precision_copy ? size(DType::bf16) : 0.0)
                                         : 4 * size(s.gradient) + 4 * size(s.master) + 16 * size(s.moments);
  return t.machine.calibration->elementwise(Bytes(std::llround(elements * (norm + step))), "optimizer")
      .time.value;
}

// Traffic that nothing overlaps.
void wait_for(LayerTime& time, const PricedOp& op) {
  time.seconds += op.seconds;
  time.terms.add(op.term, op.curve, op.seconds, op.spread);
}

void add_pass(LayerTime& time, Term term, const Estimate& e) {
  time.seconds += e.time.value;
  time.busy += e.time.value;
  time.terms.add(term, e.curve, e.time.value, e.spread);
}

// Copies on the compute stream, each micro-batch: out of and into flat buffers (FSDP), or adding a
// gradient to its buffer where the GEMM does not (reads 2 bytes, reads and writes the buffer).
void add_copies(LayerTime& time, Term term, double bytes, const Traffic& t) {
  if (bytes <= 0) return;
  add_pass(time, term, t.machine.calibration->elementwise(Bytes(std::llround(bytes)), "copy"));
}

// Bytes per gradient, low: as computed, wide: as reduced. joined: read low, write wide. flat: joined (low +
// low), cast where wider (low + wide), divided by the ranks (wide + wide). Kernels of a stream of their own
// count in full: beside GEMMs they take their SMs (scenarios/measured/h200-torch-fsdp-2026-11-22.json).
void add_gradient_copies(LayerTime& time, double elements, const Traffic& t) {
  const StateMechanisms& s = t.state();
  add_copies(time, Term::reduce, elements * s.reduce_copy_bytes, t);
  if (*s.gradient_copies == GradientCopies::none || elements <= 0) return;
  const auto low = static_cast<double>(size_of(DType::bf16)), wide = static_cast<double>(t.size(s.reduce));
  const bool casts = wide > low, joined = *s.gradient_copies == GradientCopies::joined;
  const double plain = joined ? (casts ? 0 : low + wide) : 2 * (low + wide);
  add_copies(time, Term::reduce, elements * plain, t);
  if (!casts) return;
  const auto bytes = Bytes(std::llround(elements * (low + wide)));
  add_pass(time, Term::reduce, t.machine.calibration->widening(bytes));
}

void add_all_copies(KindState& out, const LocalWeights& w, const Traffic& t, Schedule when) {
  const StateMechanisms& s = t.state();
  const double elements = static_cast<double>(w.attention + w.expert);
  const double gathered = elements + static_cast<double>(w.frozen_attention + w.frozen_expert);
  if (when.gather_every) {
    add_copies(out.f, Term::gather, gathered * s.gather_copy_bytes, t);
    add_copies(out.b, Term::gather, gathered * s.gather_copy_bytes * t.backward_gathers(), t);
  }
  if (when.reduce_every) return add_gradient_copies(out.b, elements, t);
  const auto buffer = static_cast<double>(size_of(DType::bf16) + 2 * t.size(s.gradient));
  if (!s.fused_wgrad) add_copies(out.b, Term::elementwise, elements * buffer, t);
}

void add_copies(KindState& out, const LocalWeights& w, const Traffic& t, Schedule when) {
  const double f = out.f.seconds, b = out.b.seconds;
  add_all_copies(out, w, t, when);
  out.copies_f = out.f.seconds - f, out.copies_b = out.b.seconds - b;
}

KindState kind_state(const KindPass& pass, const LocalWeights& weights, const Traffic& t, Schedule when) {
  KindState out;
  fill_bytes(out, weights, t, when);
  if (!when.priced) return out;
  out.optimizer = optimizer_seconds(weights, t);
  const PricedOp gather = t.gather(weights), reduce = t.reduce(weights);
  out.gather = gather.seconds, out.reduce = when.whole ? 0 : reduce.seconds;
  const double slowdown = t.machine.calibration->compute_slowdown();
  const StateMechanisms& s = t.state();
  const PricedOp* prefetch = gather.seconds > 0 && s.overlap_gather ? &gather : nullptr;
  const PricedOp* under = reduce.seconds > 0 && s.overlap_reduce && !when.whole ? &reduce : nullptr;
  out.f = when.gather_every && prefetch ? resolve(pass.forward, {prefetch, nullptr}, slowdown) : pass.f;
  const bool both = when.gather_every && prefetch;
  const bool state_in_backward = both || (when.reduce_every && under);
  out.b =
      state_in_backward
          ? resolve(pass.backward, {both ? prefetch : nullptr, when.reduce_every ? under : nullptr}, slowdown)
          : pass.b;
  // Reductions of every micro-batch that no gather waits behind queue up: a layer takes at least its own.
  if (when.reduce_every && under && !both) {
    PricedOp queued = reduce;
    queued.seconds = std::max(0.0, reduce.seconds - out.b.seconds);
    wait_for(out.b, queued);
  }
  if (when.gather_every && !prefetch) wait_for(out.f, gather), wait_for(out.b, t.again(gather));
  if (when.reduce_every && !under) wait_for(out.b, reduce);
  add_copies(out, weights, t, when);
  if (!when.gather_every && gather.seconds > 0) {
    out.first_extra = prefetch ? resolve(pass.forward, {prefetch, nullptr}, slowdown).seconds - pass.f.seconds
                               : gather.seconds;
  }
  if (!when.reduce_every && reduce.seconds > 0) {
    out.last_extra =
        under ? resolve(pass.backward, {nullptr, under}, slowdown).seconds - pass.b.seconds : reduce.seconds;
  }
  return out;
}

// The slowest hop between stages: between nodes, over pods, where any hop is.
GroupLinks stage_hop(const Layout& l, const Fabric& fabric) {
  const std::vector<Axis> stages = RankGrid(l).group_axes(attention_group(bit(Dim::pp)));
  const GroupLinks all = links_of(fabric, stages);
  GroupLinks hop = fabric.path(Rank(0), Rank(stages.front().stride));
  hop.nodes = std::min(all.nodes, 2), hop.ranks_per_node = 3 - hop.nodes, hop.tier = all.tier;
  hop.intra = hop.nodes > 1 ? BytesPerSec() : std::min(hop.intra, all.intra);
  hop.inter = all.inter, hop.inter_latency = all.inter_latency;
  return hop;
}

// Every rank of tp sends its part of the residual stream (Narayanan et al. 2021, section 4.1), or all of it.
double send_seconds(const GroupLinks& hop, const Layout& l, const Job& job, const Machine& machine) {
  const bool whole = machine.profile->state.sends_whole && !l.sp;
  const double tokens = static_cast<double>(l.mb) * job.seq / l.cp / (whole ? 1 : l.tp);
  const double bytes = tokens * job.model->hidden * static_cast<double>(size_of(DType::bf16));
  return machine.calibration->collective(Collective::send, hop, Bytes(std::llround(bytes))).time.value;
}

// One communicator per group of more than one rank that a framework opens: tp, cp, dp, dp x cp, pp;
// with experts ep, etp, edp; and the world. Sends may have their own: of an inner stage, each chunk has a
// boundary on either side; two stages share all there are.
std::int64_t communicator_bytes(const Layout& l, const Job& job, const StateMechanisms& state,
                                const Calibration& calibration) {
  const bool experts = job.model->has_moe();
  const std::int32_t groups[] = {l.gpus(),
                                 l.tp,
                                 l.cp,
                                 l.dp,
                                 l.cp > 1 ? l.dp * l.cp : 1,
                                 l.pp,
                                 experts ? l.ep : 1,
                                 experts ? l.etp : 1,
                                 experts && l.edp() != l.dp ? l.edp() : 1};
  std::int64_t bytes = 0;
  if (l.pp > 1 && *state.boundary_communicators) {
    const std::int32_t boundaries = std::min(2 * l.vpp, l.pp * l.vpp - 1);
    bytes += (2 * boundaries - 1) * calibration.communicator(2).count;  // pp stands for one
  }
  for (const std::int32_t ranks : groups) bytes += ranks > 1 ? calibration.communicator(ranks).count : 0;
  return bytes;
}

// Norms and routers under sequence parallelism: one all-reduce a step of what a stage holds
// (Megatron-LM coalesces them; Korthikanti et al. 2022, section 4.2.2, makes them partial sums).
double tp_reduce_seconds(const PassCost& pass, const Traffic& t, const Job& job) {
  if (t.layout.tp == 1) return 0;
  std::int64_t elements = pass.head.weights.sequence_partial;
  for (const std::uint8_t kind : job.model->layer_kind)
    elements += pass.kinds[kind].weights.sequence_partial / t.layout.pp;
  const Bytes bytes(elements * size_of(t.state().reduce));
  return t.machine.calibration->collective(Collective::all_reduce, pass.links.tp, bytes).time.value;
}

// First and last stage hold the table; their gradients are all-reduced between the two.
void add_tied_head(StateCost& out, const PassCost& pass, const Traffic& t, Schedule when) {
  LocalWeights weights = pass.head.weights;
  weights.attention += pass.embedding.weights.attention;
  out.tied_head = kind_state(pass.head, weights, t, when);
  if (!when.priced) return;
  const Bytes table(pass.embedding.weights.attention * size_of(t.state().reduce));
  out.tied_reduce = t.machine.calibration->collective(Collective::all_reduce, out.hop, table).time.value;
}

}  // namespace

StateCost state_cost(const PassCost& pass, const Layout& layout, const Job& job, const Machine& machine,
                     bool priced) {
  priced = priced && pass.priced;
  const StateGroups groups = state_groups(layout, machine, priced);
  const Traffic traffic{layout, machine, groups, job.training};
  const StateMechanisms& s = traffic.state();
  StateCost out;
  out.priced = priced;
  if (priced && layout.pp > 1) {
    out.hop = stage_hop(layout, *machine.fabric);
    out.send = send_seconds(out.hop, layout, job, machine);
  }
  out.communicators = communicator_bytes(layout, job, s, *machine.calibration);
  const bool whole = layout.zero >= 3 && layout.pp > 1 && s.whole_under_pp;
  out.gathers_every = layout.zero >= 3 && !whole;
  out.reduces_every = out.gathers_every || (layout.zero == 2 && s.reduce_every_microbatch);
  const bool cut = out.reduces_every || (layout.zero == 2 && microbatches(layout, job) == 1);
  const Schedule when{out.gathers_every, out.reduces_every, cut, whole, priced};
  for (const KindPass& kind : pass.kinds) out.kinds.push_back(kind_state(kind, kind.weights, traffic, when));
  out.embedding = kind_state(pass.embedding, pass.embedding.weights, traffic, when);
  out.head = kind_state(pass.head, pass.head.weights, traffic, when);
  if (job.model->mtp_layers > 0) {
    out.mtp_entry = kind_state(pass.mtp_entry, pass.mtp_entry.weights, traffic, when);
    out.mtp_head = kind_state(pass.head, {}, traffic, when);
  }
  if (priced) out.tp_reduce = tp_reduce_seconds(pass, traffic, job);
  if (job.model->tied_embeddings && layout.pp > 1) add_tied_head(out, pass, traffic, when);
  if (!priced) return out;
  out.gather = traffic.gather(pass.kinds.front().weights);
  out.reduce = traffic.reduce(pass.kinds.front().weights);
  return out;
}

}  // namespace tw
