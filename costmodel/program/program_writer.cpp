// The units that each stage holds and its steps in order: the slots of the schedule, each played as the
// op lists of its layers, with sends, receives and the traffic of states around them.
#include <algorithm>
#include <map>
#include <utility>

#include "costmodel/program/program.hpp"
#include "topology/check.hpp"

namespace tw {

class ProgramWriter {
 public:
  explicit ProgramWriter(Program& program)
      : p_(program),
        l_(program.input_.layout),
        schedule_(schedule_at(l_.schedule)),
        shape_{l_.pp, l_.vpp, program.microbatches_},
        chunks_(l_.pp * l_.vpp) {
    TW_CHECK(schedule_.illegal(shape_).empty() || l_.pp == 1);
    split();
    for (const LayerWork& work : p_.kinds_) frees(work);
    for (const LayerWork& work : p_.plain_) frees(work);
    frees(p_.embedding_), frees(p_.head_);
    if (p_.input_.model.mtp_layers > 0) frees(p_.mtp_entry_);
  }

  void write() {
    for (std::int32_t stage = 0; stage < l_.pp; ++stage) place(stage);
    for (std::int32_t stage = 0; stage < l_.pp; ++stage) run(stage);
  }

 private:
  Program::Stage& stage(std::int32_t index) { return p_.stages_[static_cast<std::size_t>(index)]; }
  std::int32_t copy_of(std::int32_t microbatch) const {
    return schedule_.weight_copies == 2 && microbatch >= shape_.microbatches / 2 ? 1 : 0;
  }
  std::int32_t device(std::int32_t chunk, std::int32_t microbatch) const {
    return schedule_.device(shape_, chunk, copy_of(microbatch));
  }

  void split() {
    std::int32_t at = 0;
    for (std::int32_t c = 0; c < chunks_; ++c) {
      first_.push_back(at);
      at += l_.split.empty() ? default_chunk(p_.input_.model.layers(), chunks_, c)
                             : l_.split[static_cast<std::size_t>(c)];
    }
    first_.push_back(at);
  }

  Frees none_freed(const LayerWork& work) const {
    Frees out;
    out.forward.resize(work.forward.size());
    for (auto* list : {&out.backward, &out.input, &out.weight}) list->resize(work.backward.size());
    return out;
  }

  void frees(const LayerWork& work) {
    Frees found = p_.input_.operands ? frees_of(work) : none_freed(work);
    Known known{&work, {}, {}, {}, {}};
    const auto keep = [&](std::vector<std::vector<std::int16_t>>& from, std::vector<std::size_t>& to) {
      for (std::vector<std::int16_t>& list : from) {
        to.push_back(p_.frees_.size());
        p_.frees_.push_back(std::move(list));
      }
    };
    keep(found.forward, known.forward), keep(found.backward, known.backward);
    keep(found.input, known.input), keep(found.weight, known.weight);
    known_.push_back(std::move(known));
  }

  // full:N recomputes the first N layers that a stage holds.
  const LayerWork* work_of(std::int32_t layer, std::int32_t chunk) const {
    const std::size_t kind = p_.input_.model.layer_kind[static_cast<std::size_t>(layer)];
    if (p_.plain_.empty()) return &p_.kinds_[kind];
    const std::int32_t size =
        first_[static_cast<std::size_t>(chunk) + 1] - first_[static_cast<std::size_t>(chunk)];
    const std::int32_t before = l_.vpp == 1 ? 0 : chunk / l_.pp * size;
    const std::int32_t index = before + layer - first_[static_cast<std::size_t>(chunk)];
    return index < l_.recompute.full_layers ? &p_.kinds_[kind] : &p_.plain_[kind];
  }

  void place(std::int32_t index) {
    std::vector<Unit>& units = stage(index).units;
    const Model& model = p_.input_.model;
    bool table = false, head = false;
    for (std::int32_t c = 0; c < chunks_; ++c) {
      for (std::int32_t copy = 0; copy < schedule_.weight_copies; ++copy) {
        if (schedule_.device(shape_, c, copy) != index) continue;
        if (c == 0) units.push_back({Unit::Kind::embedding, 0, c, copy, false, &p_.embedding_}), table = true;
        for (std::int32_t layer = first_[static_cast<std::size_t>(c)];
             layer < first_[static_cast<std::size_t>(c) + 1]; ++layer) {
          units.push_back({Unit::Kind::layer, layer, c, copy, false, work_of(layer, c)});
        }
        if (c != chunks_ - 1) continue;
        units.push_back({Unit::Kind::head, 0, c, copy, false, &p_.head_}), head = true;
        for (std::int32_t module = 0; module < model.mtp_layers; ++module) add_module(units, c, copy, module);
      }
    }
    if (model.tied_embeddings && head && !table)
      units.push_back({Unit::Kind::embedding, 0, chunks_ - 1, 0, true, &p_.embedding_});
  }

  // Multi-token prediction: its entry, one more layer of the last kind, and the head again.
  void add_module(std::vector<Unit>& units, std::int32_t chunk, std::int32_t copy, std::int32_t module) {
    const std::int32_t layer = p_.input_.model.layers() - 1;
    units.push_back({Unit::Kind::mtp_entry, 0, chunk, copy, false, &p_.mtp_entry_, module});
    units.push_back({Unit::Kind::layer, layer, chunk, copy, false,
                     &p_.kinds_[p_.input_.model.layer_kind.back()], module});
    units.push_back({Unit::Kind::head, 0, chunk, copy, false, &p_.head_, module});
  }

  struct Known {
    const LayerWork* work;
    std::vector<std::size_t> forward, backward, input, weight;
  };
  const Known& known(const LayerWork* work) const {
    return *std::find_if(known_.begin(), known_.end(), [&](const Known& k) { return k.work == work; });
  }

  void run(std::int32_t index) {
    at_ = index;
    used_.assign(stage(index).units.size(), 0);
    slot_ = 0;
    for (const Slot& slot : schedule_.slots(shape_, index)) play(slot), ++slot_;
    slot_ = -1;
    finish();
  }

  void play(const Slot& slot) {
    switch (slot.pass) {
      case Pass::forward:
        return forward(slot.chunk, slot.microbatch);
      case Pass::backward:
        return backward(slot.chunk, slot.microbatch, true, true);
      case Pass::backward_input:
        return backward(slot.chunk, slot.microbatch, true, false);
      case Pass::weight:
        return backward(slot.chunk, slot.microbatch, false, true);
      case Pass::forward_backward:
        forward(slot.chunk, slot.microbatch);
        return backward(slot.paired_chunk, slot.paired_microbatch, true, true);
    }
  }

  Step step(Action action, std::int32_t unit = -1) const {
    Step out;
    out.action = action, out.unit = unit, out.microbatch = microbatch_, out.chunk = chunk_;
    out.slot = slot_;
    return out;
  }
  void push(Step step) { stage(at_).steps.push_back(step); }
  void move(Action action, std::int32_t chunk, bool backward) {
    Step out = step(action);
    out.backward = backward;
    out.peer = device(chunk, microbatch_);
    push(out);
  }

  std::vector<std::int32_t> units_of(std::int32_t chunk, std::int32_t copy) const {
    std::vector<std::int32_t> out;
    const std::vector<Unit>& units = p_.stages_[static_cast<std::size_t>(at_)].units;
    for (std::size_t i = 0; i < units.size(); ++i) {
      if (units[i].chunk == chunk && units[i].copy == copy && !units[i].table_only)
        out.push_back(static_cast<std::int32_t>(i));
    }
    return out;
  }

  // The table of a tied head is gathered with the head.
  void traffic(Action action, std::int32_t unit) {
    push(step(action, unit));
    const std::vector<Unit>& units = stage(at_).units;
    const std::int32_t tied = p_.tied_unit(at_);
    if (units[static_cast<std::size_t>(unit)].kind != Unit::Kind::head || tied < 0) return;
    std::uint8_t& used = used_[static_cast<std::size_t>(tied)];
    const bool whole = action == Action::gather && used != 0 && !p_.cuts_parameters();
    if (action == Action::reduce || whole) return;
    push(step(action, tied));
    used = 1;
  }
  void before(std::int32_t unit, bool backward) {
    const bool first = used_[static_cast<std::size_t>(unit)] == 0;
    if (p_.cuts_parameters() || (first && !backward && p_.cuts_optimizer())) traffic(Action::gather, unit);
    used_[static_cast<std::size_t>(unit)] = 1;
  }
  // A unit's parameters come while the one before it runs, where the framework fetches ahead.
  void gather_around(const std::vector<std::int32_t>& units, std::size_t n, bool backward) {
    const StateMechanisms& s = state_of(p_.input_.profile, l_.zero);
    const bool ahead = s.overlap_gather && s.gathered_layers > 1;
    if (n == 0 || !ahead) before(units[n], backward);
    if (ahead && n + 1 < units.size()) before(units[n + 1], backward);
  }
  void after(std::int32_t unit) {
    if (p_.cuts_parameters()) traffic(Action::release, unit);
  }

  void forward(std::int32_t chunk, std::int32_t microbatch) {
    chunk_ = chunk, microbatch_ = microbatch;
    if (chunk > 0) move(Action::receive, chunk - 1, false);
    const std::vector<std::int32_t> units = units_of(chunk, copy_of(microbatch));
    for (std::size_t n = 0; n < units.size(); ++n) {
      const std::int32_t unit = units[n];
      gather_around(units, n, false);
      const Known& k = known(stage(at_).units[static_cast<std::size_t>(unit)].work);
      for (std::size_t i = 0; i < k.forward.size(); ++i) op(unit, i, false, k.forward[i]);
      after(unit);
    }
    if (chunk + 1 < chunks_) move(Action::send, chunk + 1, false);
  }

  void op(std::int32_t unit, std::size_t index, bool backward, std::size_t frees) {
    Step out = step(Action::op, unit);
    out.backward = backward;
    out.op = static_cast<std::int16_t>(index);
    out.frees = p_.frees_[frees];
    push(out);
  }

  void backward(std::int32_t chunk, std::int32_t microbatch, bool inputs, bool weights) {
    chunk_ = chunk, microbatch_ = microbatch;
    if (inputs && chunk + 1 < chunks_) move(Action::receive, chunk + 1, true);
    std::vector<std::int32_t> units = units_of(chunk, copy_of(microbatch));
    std::reverse(units.begin(), units.end());
    for (std::size_t n = 0; n < units.size(); ++n) {
      const std::int32_t unit = units[n];
      if (inputs) gather_around(units, n, true);
      backward_ops(unit, inputs, weights);
      if (inputs) after(unit);
      if (weights) reduce(unit);
    }
    if (inputs && chunk > 0) move(Action::send, chunk - 1, true);
  }

  void backward_ops(std::int32_t unit, bool inputs, bool weights) {
    const LayerWork* work = stage(at_).units[static_cast<std::size_t>(unit)].work;
    const Known& k = known(work);
    for (std::size_t i = 0; i < k.backward.size(); ++i) {
      const bool half = work->backward[i].weight_half;
      if (inputs && weights)
        op(unit, i, true, k.backward[i]);
      else if (half == weights)
        op(unit, i, true, half ? k.weight[i] : k.input[i]);
    }
  }

  // Every micro-batch where gradients are cut, else with the last one of this copy of the unit.
  void reduce(std::int32_t unit) {
    const StateMechanisms& s = state_of(p_.input_.profile, l_.zero);
    const bool every = l_.zero >= 3 || (l_.zero == 2 && s.reduce_every_microbatch);
    const std::int64_t all = shape_.microbatches / schedule_.weight_copies;
    std::int32_t& done = reduced_[{at_, unit}];
    if (++done < all && !every) return;
    traffic(Action::reduce, unit);
    const bool head = stage(at_).units[static_cast<std::size_t>(unit)].kind == Unit::Kind::head;
    const std::int32_t tied = p_.tied_unit(at_);
    if (head && tied >= 0 && stage(at_).units[static_cast<std::size_t>(tied)].table_only)
      push(step(Action::reduce, tied));
  }

  void finish() {
    microbatch_ = 0, chunk_ = 0;
    const auto count = static_cast<std::int32_t>(stage(at_).units.size());
    for (std::int32_t unit = 0; unit < count; ++unit) {
      if (p_.copies(at_, unit).size() > 1) push(step(Action::sum_copies, unit));
      if (shares(*stage(at_).units[static_cast<std::size_t>(unit)].work))
        push(step(Action::sum_shared, unit));
    }
    push(step(Action::clip));
    for (std::int32_t unit = 0; unit < count; ++unit) push(step(Action::update, unit));
  }

  bool shares(const LayerWork& work) const {
    if (l_.tp == 1) return false;
    return std::any_of(work.weights.begin(), work.weights.end(), [](const Weight& weight) {
      const bool copied = std::any_of(weight.rows.begin(), weight.rows.end(),
                                      [](const RowBlock& block) { return block.copies > 1; });
      return weight.sequence_partial || copied;
    });
  }

  Program& p_;
  const Layout& l_;
  const Schedule& schedule_;
  PipeShape shape_;
  std::int32_t chunks_;
  std::vector<std::int32_t> first_;  // layer of each chunk
  std::vector<Known> known_;
  std::map<std::pair<std::int32_t, std::int32_t>, std::int32_t> reduced_;
  std::vector<std::uint8_t> used_;
  std::int32_t at_ = 0, chunk_ = 0, microbatch_ = 0, slot_ = -1;
};

void write_program(Program& program) {
  ProgramWriter(program).write();
}

}  // namespace tw
