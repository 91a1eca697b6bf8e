#include "train/device/engine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "costmodel/program/view.hpp"
#include "topology/check.hpp"
#include "topology/json.hpp"
#include "train/device/idle.hpp"

namespace tw::train {
namespace {

const char* unknown_in(const Operands& io) {
  if (io.what == Operator::head_norm && io.heads.head_dim > 256) return "norms of heads wider than 256";
  if (io.what == Operator::rotate && io.heads.head_dim % 16 != 0) return "heads of no multiple of 16";
  return nullptr;
}

const char* unknown_in(const LayerWork& work) {
  for (const OperandList* list : {&work.operands.forward, &work.operands.backward}) {
    for (const Operands& io : *list) {
      if (const char* what = unknown_in(io)) return what;
    }
  }
  for (const Value& value : work.operands.values) {
    if (value.element_bytes == 2 && value.width % 8 != 0) return "values of no multiple of 8";
  }
  return nullptr;
}

bool meets(const Operands& io) {
  switch (io.what) {
    case Operator::convert:
      return io.conversion != Conversion::slice;
    case Operator::ring:
    case Operator::ring_return:
    case Operator::spread_heads:
    case Operator::gather_heads:
    case Operator::merge_scores:
    case Operator::balance:
    case Operator::dispatch:
    case Operator::combine:
      return true;
    default:
      return false;
  }
}

std::int32_t first_gathered(const View& view) {
  if (!view.program().cuts_parameters()) return -1;
  for (const Step& step : view.steps()) {
    if (step.action == Action::gather) return step.unit;
  }
  return -1;
}

}  // namespace

void refuse_on_device(const Program& program) {
  for (std::int32_t stage = 0; stage < program.stages(); ++stage) {
    for (const Unit& unit : program.units(stage)) {
      if (const char* what = unknown_in(*unit.work))
        throw InputError("layout", "", fmt::format("{}: the GPU has no kernel for it", what));
    }
  }
}

DeviceEngine::DeviceEngine(const View& view, Messages& messages, const Settings& settings, const Data& data,
                           bool poisoned)
    : view_(view),
      gpu_(messages, poisoned),
      operations_(view, gpu_, settings, data),
      idle_(idle_traffic(view)),
      first_gathered_(first_gathered(view)),
      trace_(gpu_.lanes.compute()) {
  refuse_on_device(view.program());
  factor_ = gpu_.memory.take(sizeof(float));
  open_channels();
  meet_groups();
  operations_.fetch_tokens();
  gpu_.lanes.finish();
}

// From the side of the rank that does the step.
DeviceEngine::Channel DeviceEngine::channel(const Step& step, std::int32_t boundary, Rank own) const {
  const Rank peer = view_.program().peer(own, step.peer);
  const bool sends = step.action == Action::send;
  return {sends ? own : peer, sends ? peer : own, step.backward, boundary};
}

// Communicators of two ranks, in one order for all.
void DeviceEngine::open_channels() {
  const Program& program = view_.program();
  for (const Step& step : view_.steps()) {
    if (step.action != Action::send && step.action != Action::receive) continue;
    const bool upper = step.action == Action::send ? step.backward : !step.backward;
    const Channel found = channel(step, upper ? step.chunk - 1 : step.chunk, view_.rank());
    if (found.from != found.to) channels_.emplace(found.key(), -1);
  }
  TW_CHECK(program.stages() > 1 || channels_.empty());
  for (auto& [key, lane] : channels_) {
    lane = gpu_.lanes.add();
    const Rank ends[] = {Rank(std::get<0>(key)), Rank(std::get<1>(key))};
    gpu_.peers(lane, ends);
  }
}

// All communicators that the steps will ask for, in one order for all ranks: lane, then members.
void DeviceEngine::meet_groups() {
  std::set<std::pair<std::int32_t, std::vector<Rank>>> wanted;
  const auto want = [&](std::int32_t lane, const std::vector<Rank>& ranks) {
    if (ranks.size() > 1) wanted.emplace(lane, ranks);
  };
  for (const Step& step : view_.steps()) {
    switch (step.action) {
      case Action::op: {
        const Operands& io = operands_of(step, view_.units());
        if (!meets(io)) break;
        const Group group = view_.group(io.group);
        want(Lanes::kNetwork, {group.begin(), group.end()});
        break;
      }
      case Action::gather:
      case Action::reduce:
      case Action::sum_shared:
        for (const FlatScope& scope : operations_.state(step.unit).flat().scopes) {
          if (scope.elements == 0) continue;
          want(Lanes::kState, step.action == Action::sum_shared ? scope.cuts : scope.shards);
          if (step.action == Action::reduce) want(Lanes::kState, scope.replicas);
        }
        break;
      case Action::sum_copies:
        want(Lanes::kState, holders(step.unit));
        break;
      default:
        break;
    }
  }
  const Group world = view_.world();
  want(Lanes::kState, {world.begin(), world.end()});
  for (const auto& [lane, ranks] : wanted) gpu_.peers(lane, ranks);
}

void DeviceEngine::trace(bool on) {
  traces_ = on;
  gpu_.lanes.trace(on ? &trace_ : nullptr);
}

void DeviceEngine::done(const Step& step) {
  if (traces_) trace_.mark(&step);
}

void DeviceEngine::begin_step() {
  began_ = std::chrono::steady_clock::now();
  gpu_.staging.reset();
  gpu_.lanes.work_of(&view_.steps().front());
  if (traces_) trace_.begin();
  operations_.send_tokens();
  gpu::clear(operations_.sums(), 3 * sizeof(double), gpu_.lanes.compute());
  for (std::size_t i = 0; i < view_.units().size(); ++i)
    operations_.state(static_cast<std::int32_t>(i)).begin_step();
}

void DeviceEngine::end_step() {
  flush();
  gpu_.lanes.join();
  gpu::to_host(operations_.sums(), host_sums_.data(), 3 * sizeof(double), gpu_.lanes.compute());
  issue_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
  ++operations_.step;
  operations_.fetch_tokens();
  gpu_.lanes.finish();
  const auto* sums = static_cast<const double*>(host_sums_.data());
  norm_ = std::sqrt(sums[0]);
  total_ = {sums[1], sums[2]};
}

void DeviceEngine::set_steps_done(std::int64_t steps) {
  operations_.step = steps;
  operations_.fetch_tokens();
}

void DeviceEngine::forget(std::int32_t unit, std::int32_t microbatch) {
  flush();
  operations_.forget(unit, microbatch);
}

// The exchange that comes next in the list does not wait for this weight half, so it is put on its lane
// first: a lane begins behind all that compute was given.
bool DeviceEngine::waits_for_network(const Step& step, const Call& call) const {
  if (call.io.half != Half::weight_gradient) return false;
  const LayerWork& work = call.work;
  const auto next = static_cast<std::size_t>(step.op) + 1;
  return next < work.backward.size() && work.backward[next].stream == Stream::network &&
         work.operands.backward[next].what == Operator::convert;
}

void DeviceEngine::flush() {
  operations_.settle();
  if (!held_) return;
  gpu_.lanes.work_of(held_step_);
  operations_.run(*held_);
  done(*held_step_);
  held_.reset();
}

// The next operation of the list, where it runs on compute too.
const Operands* DeviceEngine::after(const Step& step, const Call& call) const {
  const OpList& ops = step.backward ? call.work.backward : call.work.forward;
  const auto next = static_cast<std::size_t>(step.op) + 1;
  if (next >= ops.size() || ops[next].stream != Stream::compute) return nullptr;
  return &(step.backward ? call.work.operands.backward : call.work.operands.forward)[next];
}

void DeviceEngine::op(const Step& step, Call& call) {
  const bool network = op_of(step, view_.units()).stream == Stream::network;
  if (!network && !operations_.joins(call)) flush();
  const std::int16_t first = call.io.reads.empty() ? std::int16_t{-1} : call.io.reads[0];
  call.last_reader = first >= 0 && std::find(step.frees.begin(), step.frees.end(), first) != step.frees.end();
  if (waits_for_network(step, call)) {
    held_.emplace(call), held_step_ = &step;
    return;
  }
  if (!network) call.next = after(step, call);
  gpu_.lanes.work_of(&step);
  operations_.run(call);
  done(step);
  if (!network) return;
  if (held_) gpu_.lanes.follow(Lanes::kNetwork);
  flush();
}

void DeviceEngine::send(const Step& step, const Value& value, std::int32_t boundary) {
  flush();
  gpu_.lanes.work_of(&step);
  const Channel out = channel(step, boundary, view_.rank());
  if (out.from == out.to) {
    kept_[{boundary, step.backward, step.microbatch}] = value;
    return;
  }
  const std::int32_t lane = lane_of(out);
  gpu_.lanes.await(value->ready);
  const gpu::Stream stream = gpu_.lanes.begin(lane);
  const Rank ends[] = {out.from, out.to};
  gpu_.peers(lane, ends).send(1, value->data(), value->bytes(), stream);
  value->block.used(gpu_.lanes.end(lane));
}

// Boundary values have the rows and the width of a layer's input.
DeviceEngine::Value DeviceEngine::receive(const Step& step, std::int32_t boundary) {
  flush();
  gpu_.lanes.work_of(&step);
  const Channel in = channel(step, boundary, view_.rank());
  if (in.from == in.to) {
    const auto found = kept_.find({boundary, step.backward, step.microbatch});
    TW_CHECK(found != kept_.end());
    Value out = std::move(found->second);
    kept_.erase(found);
    return out;
  }
  const Unit* unit = nullptr;
  for (const Unit& each : view_.units()) {
    if (each.work->operands.input >= 0) unit = &each;
  }
  TW_CHECK(unit != nullptr);
  const LayerOperands& operands = unit->work->operands;
  const tw::Value& like = operands.values[static_cast<std::size_t>(operands.input)];
  auto out = std::make_shared<DeviceTensor>();
  out->rows = std::llround(like.rows), out->width = like.width;
  out->block = gpu_.memory.take(out->size() * gpu::size_of(out->number));
  const std::int32_t lane = lane_of(in);
  const gpu::Stream stream = gpu_.lanes.begin(lane);
  const Rank ends[] = {in.from, in.to};
  gpu_.peers(lane, ends).receive(0, out->data(), out->bytes(), stream);
  out->ready = gpu_.lanes.end(lane);
  out->block.used(out->ready);
  return out;
}

void DeviceEngine::act(const Step& step) {
  flush();
  gpu_.lanes.work_of(&step);
  play(step);
  done(step);
}

// The next step begins with a gather that nothing else would run beside: it runs beside the other updates.
void DeviceEngine::update(std::int32_t unit) {
  operations_.state(unit).update(settings(), factor_.floats(), operations_.step + 1);
  if (unit == first_gathered_) operations_.state(unit).gather();
}

void DeviceEngine::play(const Step& step) {
  if (idle(step)) return;
  switch (step.action) {
    case Action::gather:
      return operations_.state(step.unit).gather();
    case Action::release:
      return operations_.state(step.unit).release();
    case Action::reduce:
      return operations_.state(step.unit).reduce();
    case Action::sum_shared:
      return operations_.state(step.unit).sum_shared();
    case Action::sum_copies:
      return sum_copies(step.unit);
    case Action::clip:
      return clip();
    case Action::update:
      return update(step.unit);
    default:
      TW_CHECK(false);
  }
}

// Ranks that hold a copy of the unit, each once.
std::vector<Rank> DeviceEngine::holders(std::int32_t unit) const {
  std::vector<Rank> out;
  for (const Program::Copy& copy : view_.program().copies(view_.stage(), unit)) {
    const Rank rank = view_.program().peer(view_.rank(), copy.stage);
    if (std::find(out.begin(), out.end(), rank) == out.end()) out.push_back(rank);
  }
  return out;
}

// Copies on this stage are summed here, then over the stages, each of which comes by once.
void DeviceEngine::sum_copies(std::int32_t unit) {
  std::vector<std::int32_t> here;
  for (const Program::Copy& copy : view_.program().copies(view_.stage(), unit)) {
    if (copy.stage == view_.stage()) here.push_back(copy.unit);
  }
  if (here.front() != unit) return;
  DeviceUnit& first = operations_.state(unit);
  for (const std::int32_t other : here) {
    if (other != unit) first.add_reduced(operations_.state(other));
  }
  const std::vector<Rank> ranks = holders(unit);
  if (ranks.size() > 1) first.sum_copies(ranks);
  for (const std::int32_t other : here) {
    if (other != unit) operations_.state(other).take_reduced(first);
  }
}

void DeviceEngine::clip() {
  double* sums = operations_.sums();
  // In the order of their reductions: the last of these is still under way.
  for (auto unit = static_cast<std::int32_t>(view_.units().size()) - 1; unit >= 0; --unit) {
    if (view_.program().copies(view_.stage(), unit).front() == Program::Copy{view_.stage(), unit})
      operations_.state(unit).add_squares(sums);
  }
  const gpu::Stream stream = gpu_.lanes.begin(Lanes::kState);
  const Group world = view_.world();
  if (world.size() > 1)
    gpu_.peers(Lanes::kState, world).all_reduce({gpu::Number::fp64, 3}, sums, sums, stream);
  gpu::clip_factor(sums, settings().clip, factor_.floats(), stream);
  gpu_.lanes.await(gpu_.lanes.end(Lanes::kState));
}

DeviceMemory DeviceEngine::memory() const {
  return {gpu_.memory.arena().peak(), gpu_.memory.arena().extent(), gpu::used_memory()};
}

std::vector<double> DeviceEngine::collect(Field field, const NamedWeight& weight) {
  std::vector<double> whole(static_cast<std::size_t>(weight.elements), 0.0);
  for (std::int32_t unit = 0; unit < static_cast<std::int32_t>(view_.units().size()); ++unit) {
    if (!(view_.program().copies(view_.stage(), unit).front() == Program::Copy{view_.stage(), unit}))
      continue;
    DeviceUnit& state = operations_.state(unit);
    for (std::size_t i = 0; i < state.flat().where.size(); ++i) {
      if (state.flat().weight(i).id == weight.id) state.put(field, i, whole);
    }
  }
  messages().all_reduce(view_.world(), whole.data(), weight.elements);
  return whole;
}

void DeviceEngine::restore(Field field, const NamedWeight& weight, std::span<const double> whole) {
  for (std::int32_t unit = 0; unit < static_cast<std::int32_t>(view_.units().size()); ++unit) {
    DeviceUnit& state = operations_.state(unit);
    for (std::size_t i = 0; i < state.flat().where.size(); ++i) {
      if (state.flat().weight(i).id == weight.id) state.take(field, i, whole);
    }
  }
}

void DeviceEngine::refresh() {
  for (std::int32_t unit = 0; unit < static_cast<std::int32_t>(view_.units().size()); ++unit)
    operations_.state(unit).refresh();
}

}  // namespace tw::train
