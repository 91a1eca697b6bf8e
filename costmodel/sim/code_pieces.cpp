// Routed tokens in pieces: the exchange of a piece runs while the experts work on the one before (Tutel,
// arXiv 2206.03382, section 3.3; FasterMoE, PPoPP 2022, section 4.2). Exchanges of one direction leave first
// to last, before those of the other; each kernel and message is started once per piece.
#include "costmodel/sim/stage_writer.hpp"

namespace tw {

// Behind the steps from this one on that work on routed rows, where an exchange is among them; else 0.
std::size_t StageWriter::routed_end(const Step& step) const {
  if (in_.pieces <= 1 || !prices_.routed(step, stage_)) return 0;
  bool exchanges = false;
  auto end = static_cast<std::size_t>(index(step));
  for (; end < steps_.size(); ++end) {
    const Step& next = steps_[end];
    const bool same = next.action == Action::op && next.slot == step.slot && next.unit == step.unit &&
                      next.microbatch == step.microbatch && next.backward == step.backward;
    if (!same || !prices_.routed(next, stage_)) break;
    const PricedOp& op = *prices_.of(next, stage_).op;
    if (op.beside) return 0;  // under another micro-batch already
    exchanges = exchanges || op.stream != Stream::compute;
  }
  return exchanges ? end : 0;
}

void StageWriter::in_pieces(const Step& step, std::size_t end, Flow& flow) {
  const Need before = needs(step, *prices_.of(step, stage_).op, flow);
  enter(step, flow);
  const auto begin = static_cast<std::size_t>(index(step)), pieces = static_cast<std::size_t>(in_.pieces);
  std::vector<std::vector<Need>> done(pieces, flow.done);  // of the list's operations, by piece
  const auto write = [&](std::size_t at, std::size_t piece) {
    const Step& each = steps_[at];
    const PricedOp& op = *prices_.of(each, stage_).op;
    flow.done.swap(done[piece]);
    const Need need = at == begin ? before : needs(each, op, flow);
    flow.done[static_cast<std::size_t>(each.op)] =
        write_op(each, op, need, flow, static_cast<std::int32_t>(piece), in_.pieces);
    flow.done.swap(done[piece]);
  };
  const auto computes = [&](std::size_t at) {
    return prices_.of(steps_[at], stage_).op->stream == Stream::compute;
  };
  for (std::size_t at = begin; at < end;) {
    std::size_t until = at + 1;
    while (computes(at) && until < end && computes(until)) ++until;
    for (std::size_t piece = 0; piece < pieces; ++piece) {
      for (std::size_t i = at; i < until; ++i) write(i, piece);
    }
    at = until;
  }
  for (std::size_t at = begin; at < end; ++at) {
    Need all;
    for (const std::vector<Need>& piece : done) all.add(piece[static_cast<std::size_t>(steps_[at].op)]);
    ended(steps_[at], all, flow);
  }
  flow.written = static_cast<std::int32_t>(end);
}

}  // namespace tw
