// How a framework runs a slot: its host issues, what a slot made is handed over when it is there, exchanges
// and states run beside compute as its profile says.
#include "costmodel/sim/stage_writer.hpp"

namespace tw {

void StageWriter::slot(std::size_t begin, std::size_t end) {
  slot_began_ = all_of(Lane::compute);
  std::size_t middle = begin;
  const auto same = [&](const Step& a, const Step& b) {
    return a.microbatch == b.microbatch && a.chunk == b.chunk;
  };
  while (middle < end && same(steps_[middle], steps_[begin])) ++middle;
  Flow one, other;
  if (middle == end) {
    for (std::size_t i = begin; i < end; ++i) emit(steps_[i], one);
    return end_slot(one, steps_[begin]);
  }
  weave(begin, middle, end, one, other);
  end_slot(one, steps_[begin]);
  end_slot(other, steps_[middle]);
}

// A forward and a backward of one slot share the streams: next is the one that can begin sooner.
void StageWriter::weave(std::size_t begin, std::size_t middle, std::size_t end, Flow& one, Flow& other) {
  const Need before = handed_over_;
  std::size_t a = begin, b = middle;
  while (a < middle || b < end) {
    const bool first = b == end || (a < middle && begins(steps_[a], one) < begins(steps_[b], other));
    handed_over_ = before;
    if (first)
      emit(steps_[a++], one);
    else
      emit(steps_[b++], other);
  }
}

SimTime StageWriter::begins(const Step& step, const Flow& flow) const {
  if (step.action != Action::op) return 0;
  const PricedOp& op = *prices_.of(step, stage_).op;
  if (op.synchronises && op.beside) return 0;
  return would_begin(lane_of(op), needs(step, op, flow));
}

Lane StageWriter::lane_of(const PricedOp& op) {
  if (op.synchronises) return Lane::host;
  return op.beside ? Lane::aside : static_cast<Lane>(op.stream);
}

const OpList& StageWriter::list_of(const Step& step) const {
  const LayerWork& work = *units_[static_cast<std::size_t>(step.unit)].work;
  return step.backward ? work.backward : work.forward;
}

bool StageWriter::enters(const Step& step, const Flow& flow) const {
  return flow.unit != step.unit || flow.backward != step.backward;
}

Need StageWriter::needs(const Step& step, const PricedOp& op, const Flow& flow) const {
  Need out;
  if (op.synchronises) out[Lane::compute] = count(Lane::compute);
  const bool enters = this->enters(step, flow);
  if (enters) {  // the first operation of a list waits for what the list reads
    out.add(flow.unit < 0 ? flow.input : flow.output);
    out.add(gathered_[static_cast<std::size_t>(step.unit)]);
    const std::int32_t tied = program_.tied_unit(stage_);
    if (tied >= 0 && units_[static_cast<std::size_t>(step.unit)].kind == Unit::Kind::head)
      out.add(gathered_[static_cast<std::size_t>(tied)]);
  } else {
    for (const std::int16_t before : op.after) {
      if (before >= 0) out.add(flow.done[static_cast<std::size_t>(before)]);
    }
  }
  if (op.stream == Stream::compute) {
    out.add(blocked_);
    if (flow.first) out.add(handed_over_);
  }
  return out;
}

void StageWriter::emit(const Step& step, Flow& flow) {
  switch (step.action) {
    case Action::receive:
      return receive(step, flow);
    case Action::send:
      return send(step, flow);
    case Action::gather:
      return gather(step, flow);
    case Action::reduce:
      return reduce(step);
    case Action::op:
      return framework_ ? framework_op(step, flow) : trainer_op(step);
    case Action::release:
      return;
    default:
      TW_CHECK(false);
  }
}

void StageWriter::enter(const Step& step, Flow& flow) {
  if (!enters(step, flow)) return;
  end_unit(flow);
  flow.unit = step.unit, flow.backward = step.backward;
  flow.done.assign(list_of(step).size(), {});
}

void StageWriter::framework_op(const Step& step, Flow& flow) {
  if (index(step) < flow.written) return;
  if (const std::size_t end = routed_end(step); end > 0) return in_pieces(step, end, flow);
  const PricedOp& priced = *prices_.of(step, stage_).op;
  const Need need = needs(step, priced, flow);
  enter(step, flow);
  if (priced.synchronises && priced.beside) return;
  const Need own = write_op(step, priced, need, flow);
  // The compute that it runs under is another micro-batch's: nothing of its own waits for it.
  if (priced.beside) beside_.add(own);
  ended(step, priced.beside ? need : own, flow);
}

Need StageWriter::write_op(const Step& step, const PricedOp& priced, const Need& need, Flow& flow,
                           std::int32_t piece, std::int32_t pieces) {
  host_ += priced.synchronises ? 0 : ticks(priced.host);
  const double seconds = pieces > 1 ? prices_.piece(step, stage_, pieces) : priced.seconds;
  SimOp op{.work = ticks(seconds), .step = index(step), .term = priced.term};
  op.listed = piece == 0;
  op.routed = prices_.routed && prices_.routed(step, stage_);
  op.piece = static_cast<std::int8_t>(piece), op.pieces = static_cast<std::int8_t>(pieces);
  op.yields = priced.yields < 1 ? parts(static_cast<double>(priced.yields)) : kFull;
  if (priced.stream != Stream::compute) op.lost = loss_of(priced, step);
  op.groups = in_.groups(step, stage_);
  const Lane lane = lane_of(priced);
  // Only the links of the slot bound what runs under other compute.
  const Need own = push(lane, op, priced.beside ? slot_began_ : need);
  if (priced.synchronises) ++segment_, host_ = 0;
  if (lane == Lane::compute) flow.first = false, blocked_ = {};
  return own;
}

void StageWriter::ended(const Step& step, const Need& done, Flow& flow) const {
  flow.done[static_cast<std::size_t>(step.op)] = done;
  const LayerWork& work = *units_[static_cast<std::size_t>(step.unit)].work;
  if (step.op == (step.backward ? work.backward_output : work.forward_output)) flow.output = done;
}

// Compute beside an exchange loses what is known of exchanges of this list, or of any.
std::int32_t StageWriter::loss_of(const PricedOp& op, const Step& step) {
  if (op.lost >= 0) return parts(static_cast<double>(op.lost));
  const OpList* list = &list_of(step);
  const auto [found, made] = losses_.try_emplace(list, prices_.slowdown - 1);
  if (made) {
    double seconds = 0, lost = 0;
    Step each = step;
    for (std::size_t i = 0; i < list->size(); ++i) {
      each.op = static_cast<std::int16_t>(i);
      const PricedOp& other = *prices_.of(each, stage_).op;
      if (other.stream == Stream::compute || other.lost < 0) continue;
      seconds += other.seconds, lost += other.seconds * static_cast<double>(other.lost);
    }
    if (seconds > 0) found->second = lost / seconds;
  }
  return parts(found->second);
}

// The next unit's input is this one's output; copies of flat buffers come last.
void StageWriter::end_unit(Flow& flow, bool weights) {
  if (flow.unit < 0) return;
  const double copies = prices_.copies && !weights ? prices_.copies(stage_, flow.unit, flow.backward) : 0;
  flow.input = flow.output;
  flow.unit = -1, flow.output = {};
  if (copies <= 0) return;
  (void)push(Lane::compute, {.work = ticks(copies), .term = flow.backward ? Term::reduce : Term::gather}, {});
}

// What stands still with a neighbour at the end of a slot.
void StageWriter::stand(Flow& flow) {
  if (flow.stood || prices_.standstill <= 0) return;
  flow.stood = true;
  Need need = flow.input.channel < 0 ? flow.input : Need{};
  need.add(blocked_), blocked_ = {};
  need.add(beside_);
  flow.input = push(Lane::compute, {.work = ticks(prices_.standstill), .term = Term::send}, need);
}

// The slot's output is there.
void StageWriter::end_slot(Flow& flow, const Step& step) {
  const bool weights = slot_of(step).pass == Pass::weight;
  end_unit(flow, weights);
  if (!weights) stand(flow);
  handed_over_ = flow.input.channel < 0 ? flow.input : Need{};
  handed_over_.add(beside_);
}

const Slot& StageWriter::slot_of(const Step& step) {
  if (slots_.empty()) {
    const Layout& l = program_.input().layout;
    slots_ = schedule_at(l.schedule).slots({l.pp, l.vpp, program_.microbatches()}, stage_);
  }
  return slots_[static_cast<std::size_t>(step.slot)];
}

void StageWriter::receive(const Step& step, Flow& flow) {
  const std::int8_t channel = channels_.id(stage_, step.peer, step.backward);
  Need need;
  need.channel = channel, need.arrivals = ++received_[static_cast<std::size_t>(channel)];
  if (framework_)
    flow.input = need;
  else
    made_[static_cast<std::size_t>(places_->boundary(step))] = need;
}

void StageWriter::send(const Step& step, Flow& flow) {
  Need need;
  if (framework_) {
    end_unit(flow);
    stand(flow);
    need = flow.input.channel < 0 ? flow.input : Need{};
    if (need.ended == Need{}.ended) need = all_of(Lane::compute);
    need.add(beside_);
  } else {
    need = made_[static_cast<std::size_t>(places_->boundary(step))];
  }
  const bool home = framework_ && step.peer == stage_;
  SimOp op{
      .work = home ? 0 : ticks(prices_.of(step, stage_).seconds), .step = index(step), .term = Term::send};
  op.to = static_cast<std::int16_t>(step.peer);
  op.delivers = channels_.id(step.peer, stage_, step.backward);
  (void)push(step.backward ? Lane::backward_out : Lane::forward_out, op, need);
}

SimOp StageWriter::state_op(const Step& step, Term term) {
  const StepPrice price = prices_.of(step, stage_);
  SimOp op{.work = ticks(price.seconds), .step = index(step), .term = term};
  op.lost = framework_ && price.lost >= 0 ? parts(static_cast<double>(price.lost)) : 0;
  op.groups = in_.groups(step, stage_);
  return op;
}

// Parameters that are gathered once a step come one after another from its beginning. For every micro-batch:
// beside what runs, one unit ahead, or all stands until they are there.
void StageWriter::gather(const Step& step, Flow& flow) {
  Need& gathered = gathered_[static_cast<std::size_t>(step.unit)];
  SimOp op = state_op(step, Term::gather);
  if (!framework_) {
    gathered = push(Lane::state, op, all_of(Lane::compute));
    return;
  }
  if (++gathers_[static_cast<std::size_t>(step.unit)] > 1 && !prices_.gathers_every) return;
  const bool ahead = state_.overlap_gather, first = flow.gathers++ == 0, backward = is_backward(step);
  Need need;
  if (prices_.gathers_every && !(ahead && backward && first)) {
    need = all_of(Lane::compute);
    need.add(flow.unit < 0 ? handed_over_ : flow.output);
  }
  if (!ahead && backward) op.work = ticks(seconds(op.work) * prices_.backward_gathers);
  if (!prices_.gathers_every) op.segment = -1;  // issued before the step
  gathered = push(Lane::state, op, need);
}

bool StageWriter::is_backward(const Step& step) {
  const Slot& slot = slot_of(step);
  if (slot.pass != Pass::forward_backward) return slot.pass != Pass::forward;
  return step.microbatch == slot.paired_microbatch && step.chunk == slot.paired_chunk;
}

void StageWriter::reduce(const Step& step) {
  const Need before = all_of(Lane::state);
  if (framework_ && reduced_early(step)) return;
  const bool blocks = prices_.of(step, stage_).blocks;
  const Need own = push(Lane::state, state_op(step, Term::reduce), all_of(Lane::compute));
  if (!framework_) return;
  if (blocks) blocked_.add(own);
  // Of every micro-batch: the buffer of the reduction before is used again.
  if (prices_.reduces_every) blocked_.add(before);
}

// The Program reduces what is cut with every micro-batch; the framework may keep it whole until the last.
bool StageWriter::reduced_early(const Step& step) {
  const std::int32_t zero = program_.input().layout.zero;
  const bool every = zero >= 3 || (zero == 2 && state_.reduce_every_microbatch);
  if (!every || prices_.reduces_every) return false;
  const std::int32_t copies = schedule_at(program_.input().layout.schedule).weight_copies;
  return ++reduces_[step.unit] < program_.microbatches() / copies;
}

}  // namespace tw
