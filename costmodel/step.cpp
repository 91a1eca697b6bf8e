#include "costmodel/step.hpp"

#include <algorithm>
#include <cmath>

#include "costmodel/curves.hpp"
#include "costmodel/memory.hpp"
#include "costmodel/reduction_queue.hpp"
#include "costmodel/stragglers.hpp"
#include "topology/check.hpp"

namespace tw {

namespace {

// Of a whole step, beyond the curves' own.
double whole_spread(const Machine& machine, bool routed) {
  const Calibration::Data& k = machine.calibration->data();
  const double any = std::hypot(machine.profile->spread, k.carried_spread);
  return routed ? std::hypot(any, k.step_errors->routed, k.carried_routed_spread) : any;
}

}  // namespace

StepContext step_context(const Job& job, const Machine& machine, Bytes headroom) {
  StepContext out;
  out.job = job, out.machine = machine;
  out.limit = machine.cluster->device.memory - headroom;
  const Model& model = *job.model;
  TW_CHECK(model.kinds.size() <= kMostKinds);
  out.before.resize(static_cast<std::size_t>(model.layers()) + 1);
  for (std::size_t i = 0; i < model.layer_kind.size(); ++i) {
    out.before[i + 1] = out.before[i];
    ++out.before[i + 1][model.layer_kind[i]];
  }
  out.spread = whole_spread(machine, model.has_moe());
  out.straggler = machine.profile->gpu_speed_spread * expected_maximum(job.gpus);
  out.per_step = machine.profile->host.per_step.value +
                 machine.profile->host.sync_per_step * machine.calibration->synchronise().value;
  return out;
}

namespace {

// Of the stragglers' own term, relative. derived: how far GPUs of one kind differ is known within
// about a factor of two, and the term is proportional to it.
constexpr double kStragglerSpread = 0.5;

// A chunk's layers by price list, and its seconds.
struct Chunk {
  KindCounts own{}, plain{};
  bool embedding = false, head = false;
};

}  // namespace

Standstill standstill(const StepContext& context, const Chain& chain) {
  const Layout& l = *chain.layout;
  if (l.pp == 1) return {};
  const Profile& profile = *context.machine.profile;
  const SendOverlap overlap = profile.state.overlap_send;
  const bool under = overlap == SendOverlap::always || (overlap == SendOverlap::interleaved && l.vpp > 1);
  if (under) return {};
  const int turns = profile.state.sends_in_turn && l.pp > 2 ? 2 : 1;
  return {turns * chain.state->send,
          profile.host.sync_per_send * context.machine.calibration->synchronise().value};
}

namespace {

class Step {
 public:
  Step(const StepContext& context, const Chain& chain)
      : x_(context),
        c_(chain),
        l_(*chain.layout),
        schedule_(schedule_at(chain.layout->schedule)),
        shape_{l_.pp, l_.vpp, microbatches(l_, context.job)},
        chunks_(l_.pp * l_.vpp),
        chunk_(static_cast<std::size_t>(chunks_)),
        times_(static_cast<std::size_t>(chunks_)),
        still_(standstill(context, chain)) {}

  void visit(std::int32_t stage, const PartVisitor& part) {
    split();
    each_chunk_of(stage, [&](std::int32_t c, double share) {
      each_part(chunk_[static_cast<std::size_t>(c)], [&](const KindPass& pass, const KindState& state,
                                                         std::int32_t n) { part(pass, state, share * n); });
    });
  }

  PipeDetail pipe() {
    split();
    return {std::move(times_), send_between(), shape_.microbatches};
  }

  Cost run_if_fits() {
    split();
    memory(nullptr);
    if (cost_.fits && is_priced(c_)) time(nullptr);
    return cost_;
  }

  Cost run(std::vector<StageDetail>* details) {
    split();
    memory(details);
    time(details);
    return cost_;
  }

 private:
  // Layers of every chunk. full:N recomputes the first N layers that a stage holds.
  void split() {
    std::int32_t at = 0;
    for (std::int32_t c = 0; c < chunks_; ++c) {
      const std::int32_t layers = l_.split.empty() ? default_chunk(x_.job.model->layers(), chunks_, c)
                                                   : l_.split[static_cast<std::size_t>(c)];
      Chunk& chunk = chunk_[static_cast<std::size_t>(c)];
      std::int32_t own = layers;
      if (c_.plain) {
        const std::int32_t before = l_.vpp == 1 ? 0 : c / l_.pp * layers;
        own = std::clamp(l_.recompute.full_layers - before, 0, layers);
      }
      for (std::size_t k = 0; k < kMostKinds; ++k) {
        chunk.own[k] = count(at, at + own, k);
        chunk.plain[k] = count(at + own, at + layers, k);
      }
      at += layers;
      chunk.embedding = c == 0;
      chunk.head = c == chunks_ - 1;
      if (chunk.head) chunk.own[x_.job.model->layer_kind.back()] += mtp();  // each with one more layer
      times_[static_cast<std::size_t>(c)] = chunk_time(chunk);
    }
  }

  std::int32_t count(std::int32_t from, std::int32_t to, std::size_t kind) const {
    return x_.before[static_cast<std::size_t>(to)][kind] - x_.before[static_cast<std::size_t>(from)][kind];
  }

  bool prefetches() const { return c_.state->gathers_every && x_.machine.profile->state.overlap_gather; }

  // With tied embeddings a head whose device also holds the embedding uses its table.
  bool copies_table() const {
    return x_.job.model->tied_embeddings &&
           schedule_.device(shape_, 0, 0) !=
               schedule_.device(shape_, chunks_ - 1, schedule_.weight_copies - 1);
  }
  const KindState& head_state() const { return copies_table() ? c_.state->tied_head : c_.state->head; }

  // Calls add(KindPass, KindState, layers) for everything a chunk holds, in the order of the forward.
  template <class F>
  void each_part(const Chunk& chunk, F&& add) const {
    if (chunk.embedding) add(c_.pass->embedding, c_.state->embedding, 1);
    for (std::size_t k = 0; k < c_.pass->kinds.size(); ++k) {
      if (chunk.own[k] > 0) add(c_.pass->kinds[k], c_.state->kinds[k], chunk.own[k]);
      if (chunk.plain[k] > 0) add(c_.plain->kinds[k], c_.plain_state->kinds[k], chunk.plain[k]);
    }
    if (!chunk.head) return;
    add(c_.pass->head, head_state(), 1);
    if (mtp() == 0) return;
    add(c_.pass->mtp_entry, c_.state->mtp_entry, mtp());
    add(c_.pass->head, c_.state->mtp_head, mtp());
    if (!chunk.embedding) add(c_.pass->embedding, c_.state->embedding, 1);
  }
  std::int32_t mtp() const { return x_.job.model->mtp_layers; }

  ChunkTime chunk_time(const Chunk& chunk) const {
    ChunkTime t;
    const bool pairs = l_.schedule == kScheduleDualpipe || l_.schedule == kScheduleDualpipeV;
    each_part(chunk, [&](const KindPass& pass, const KindState& state, std::int32_t layers) {
      t.forward += layers * state.f.seconds;
      if (schedule_.splits_weight) {
        const double with_state = state.b.seconds - pass.b.seconds;
        t.backward += layers * (pass.input.seconds + with_state);
        t.weight += layers * pass.w.seconds;
      } else {
        t.backward += layers * state.b.seconds;
      }
      if (pairs) t.hidden += layers * hidden_in_pair(pass, state);
    });
    t.forward += still_.send + still_.host, t.backward += still_.send + still_.host;
    // The first layer's parameters are gathered before anything can hide them.
    if (prefetches()) t.forward += c_.state->kinds.front().gather;
    return t;
  }

  // DualPipe runs the dispatch of one direction under the compute of the other, as far as there is compute: a
  // forward and a whole backward of a layer take the longer of all their compute and all their dispatch.
  static double hidden_in_pair(const KindPass& pass, const KindState& state) {
    const double waited = double{state.f.terms[Term::ep] + state.b.terms[Term::ep]};
    const double compute = state.f.seconds + state.b.seconds - waited;
    return waited - std::max(0.0, dispatch_seconds(pass) - compute);
  }

  // Calls add(stage, chunk, share) for every chunk that every stage holds; with two copies of the
  // weights each copy sees half of the micro-batches.
  template <class F>
  void each_held(F&& add) const {
    const double share = 1.0 / schedule_.weight_copies;
    for (std::int32_t c = 0; c < chunks_; ++c) {
      for (std::int32_t copy = 0; copy < schedule_.weight_copies; ++copy)
        add(schedule_.device(shape_, c, copy), c, share);
    }
  }
  template <class F>
  void each_chunk_of(std::int32_t stage, F&& add) const {
    each_held([&](std::int32_t s, std::int32_t c, double share) {
      if (s == stage) add(c, share);
    });
  }

  std::array<Held, kMostMoments> held_of(std::int32_t stage, std::int32_t chunk) const {
    std::array<Held, kMostMoments> out{};
    if (schedule_.moments == 0) out[0] = {schedule_.in_flight(shape_, stage, chunk), 0};
    for (std::int32_t i = 0; i < schedule_.moments; ++i)
      out[static_cast<std::size_t>(i)] = schedule_.held(shape_, stage, chunk, i);
    return out;
  }

  void memory(std::vector<StageDetail>* details) {
    std::vector<StageMemory> held(static_cast<std::size_t>(l_.pp), StageMemory(x_, c_));
    each_held([&](std::int32_t s, std::int32_t c, double) {
      const Chunk& chunk = chunk_[static_cast<std::size_t>(c)];
      held[static_cast<std::size_t>(s)].hold(
          {chunk.own, chunk.plain, held_of(s, c), chunk.embedding, chunk.head, &head_state()});
    });
    std::int64_t most = -1;
    for (std::int32_t s = 0; s < l_.pp; ++s) {
      const MemoryUse use = held[static_cast<std::size_t>(s)].use();
      if (details) details->push_back({use, 0});
      if (use.total() <= most) continue;
      most = use.total();
      cost_.memory = use;
      cost_.worst_stage = s;
    }
    cost_.fits = most <= x_.limit.count;
  }

  struct Device {
    double work = 0, forward = 0, backward = 0, first = 0, last = 0, optimizer = 0, gathers = 0;
    std::int64_t owned = 0;
    ReductionQueue reductions;
  };

  void add_chunk(Device& d, std::int32_t c, double share) const {
    const ChunkTime& t = times_[static_cast<std::size_t>(c)];
    d.work += share * (t.forward + t.backward + t.weight);
    d.forward += t.forward, d.backward += t.backward + t.weight;
    each_part(chunk_[static_cast<std::size_t>(c)],
              [&](const KindPass&, const KindState& state, std::int32_t n) {
                d.first += n * state.first_extra;
                d.last += n * state.last_extra;
                if (x_.machine.profile->state.overlap_reduce)
                  d.reductions.add_earlier(n, state.b.seconds, state.reduce);
                d.optimizer += n * state.optimizer;
                d.gathers += n * state.gather;
                d.owned += n * state.owned;
              });
  }

  void add_terms(TermSeconds& sum, std::int32_t s, double& busy) const {
    each_chunk_of(s, [&](std::int32_t c, double share) {
      const double times = share * static_cast<double>(shape_.microbatches);
      each_part(chunk_[static_cast<std::size_t>(c)],
                [&](const KindPass& pass, const KindState& state, std::int32_t n) {
                  sum.add(state.f.terms, times * n);
                  busy += times * n * (state.f.busy + state.b.busy);
                  if (!schedule_.splits_weight) return sum.add(state.b.terms, times * n);
                  sum.add(pass.input.terms, times * n);
                  sum.add(pass.w.terms, times * n);
                });
      if (prefetches()) {
        sum.add(Term::gather, c_.state->gather.curve, times * c_.state->kinds.front().gather,
                c_.state->gather.spread);
      }
    });
  }

  // Zero where the chunks stand still for it.
  double send_between() const { return still_.send > 0 ? 0 : c_.state->send; }

  void time(std::vector<StageDetail>* details) {
    const double send = send_between();
    const Makespan span = schedule_.makespan(shape_, {times_, send});
    std::vector<Device> devices(static_cast<std::size_t>(l_.pp));
    each_held([&](std::int32_t s, std::int32_t c, double share) {
      add_chunk(devices[static_cast<std::size_t>(s)], c, share);
    });
    double arrival = 0, slack = 0, first = 0, last = 0, optimizer = 0, gathers = 0, most = -1;
    std::int64_t owned = 0;
    for (std::int32_t s = 0; s < l_.pp; ++s) {
      const Device& d = devices[static_cast<std::size_t>(s)];
      if (details)
        (*details)[static_cast<std::size_t>(s)].work = d.work * static_cast<double>(shape_.microbatches);
      first = std::max(first, d.first - arrival);
      last = std::max(last, d.last + d.reductions.left() - slack);
      arrival += d.forward / l_.vpp + send, slack += d.backward / l_.vpp + send;
      optimizer = std::max(optimizer, d.optimizer);
      gathers = std::max(gathers, d.gathers), owned = std::max(owned, d.owned);
      if (d.work > most) most = d.work, cost_.bottleneck_stage = s;
    }
    last += schedule_.weight_copies > 1 ? sum_of_copies(owned) : 0;
    sum_up(span, {send, first, last, optimizer, c_.state->gathers_every ? 0 : gathers});
  }

  // Two stages hold the same weights and see half of the micro-batches each: their gradients are summed
  // once a step, after each has reduced its own.
  double sum_of_copies(std::int64_t bytes) const {
    return x_.machine.calibration->collective(Collective::all_reduce, c_.state->hop, Bytes(bytes)).time.value;
  }

  struct Extras {
    double send, first, last, optimizer, gathers;
  };

  void sum_up(const Makespan& span, const Extras& extra) {
    TermSeconds& t = cost_.terms;
    double busy = 0;
    add_terms(t, cost_.bottleneck_stage, busy);
    double own = 0;
    for (const float seconds : t.exposed) own += seconds;
    const double rest = span.seconds - own;  // negative where DualPipe hides dispatch
    const double slots = 2 * static_cast<double>(shape_.microbatches) * l_.vpp;
    const double sent = slots * still_.send + 2.0 * (chunks_ - 1) * extra.send, waited = slots * still_.host;
    const double hops = std::clamp(sent + waited, 0.0, std::max(rest, 0.0));
    const double share = sent + waited > 0 ? hops / (sent + waited) : 0;
    t.add(Term::send, CurveId::point_to_point, share * sent, 0);
    t.add(Term::host, CurveId::host, share * waited, 0);
    t.add(rest > 0 ? Term::bubble : Term::ep, CurveId::host, rest - hops, 0);
    // A bubble is as uncertain as the work that others do meanwhile.
    scale_errors(t, own, own + std::max(rest - hops, 0.0));
    const StateCost& state = *c_.state;
    const bool early = x_.machine.profile->state.overlap_gather;
    t.add(Term::gather, state.gather.curve, early ? extra.first : extra.gathers, state.gather.spread);
    const double sums = state.tp_reduce + (copies_table() ? state.tied_reduce : 0);
    t.add(Term::reduce, state.reduce.curve, extra.last + sums, state.reduce.spread);
    const double norm = x_.machine.calibration->synchronise().value;
    t.add(Term::optimizer, CurveId::elementwise, extra.optimizer + norm, 0);
    t.add(Term::host, CurveId::host, x_.per_step, 0);
    t.add(Term::stragglers, CurveId::host, x_.straggler * (busy + extra.optimizer), kStragglerSpread);
    finish();
  }

  static void scale_errors(TermSeconds& t, double from, double to) {
    if (from <= 0) return;
    for (float& error : t.error) error *= static_cast<float>(to / from);
  }

  // Different curves are wrong apart: squares. What concerns the whole step is added in squares.
  void finish() {
    double seconds = 0, variance = 0;
    for (const float part : cost_.terms.exposed) seconds += part;
    const StepErrors& errors = *x_.machine.calibration->data().step_errors;
    for (const float error : cost_.terms.error) variance += errors.shared * error * errors.shared * error;
    const double low = l_.precision == Precision::bf16 ? 0 : *errors.low_precision;
    const double whole = std::hypot(x_.spread, low) * seconds;
    cost_.step_seconds = seconds;
    cost_.spread_seconds = std::sqrt(variance + whole * whole);
  }

  const StepContext& x_;
  const Chain& c_;
  const Layout& l_;
  const tw::Schedule& schedule_;
  PipeShape shape_;
  std::int32_t chunks_;
  std::vector<Chunk> chunk_;
  std::vector<ChunkTime> times_;
  Standstill still_;
  Cost cost_;
};

}  // namespace

PipeDetail pipe_detail(const StepContext& context, const Chain& chain) {
  return Step(context, chain).pipe();
}

void each_part_of_stage(const StepContext& context, const Chain& chain, std::int32_t stage,
                        const PartVisitor& part) {
  Step(context, chain).visit(stage, part);
}

bool is_priced(const Chain& chain) {
  const bool plain = !chain.plain || (chain.plain->priced && chain.plain_state->priced);
  return plain && chain.pass->priced && chain.state->priced;
}

Cost cost_if_fits(const StepContext& context, const Chain& chain) {
  return Step(context, chain).run_if_fits();
}

Cost step_cost(const StepContext& context, const Chain& chain, std::vector<StageDetail>* stages) {
  return Step(context, chain).run(stages);
}

}  // namespace tw
