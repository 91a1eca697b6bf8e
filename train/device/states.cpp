#include "train/device/states.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "topology/check.hpp"
#include "topology/json.hpp"

namespace tw::train {
namespace {

constexpr std::int64_t kFloat = 4, kHalf = 2;

// Neighbours that are neighbours in the whole weight too become one run.
void append(std::vector<gpu::ElementRun>& runs, const gpu::ElementRun& next) {
  if (!runs.empty()) {
    gpu::ElementRun& last = runs.back();
    if (last.local + last.count == next.local && last.global + last.count == next.global) {
      last.count += next.count;
      return;
    }
  }
  runs.push_back(next);
}

}  // namespace

DeviceUnit::DeviceUnit(const View& view, const Unit& unit, const Settings& settings, Context& gpu)
    : gpu_(gpu),
      flat_(flatten(view, unit)),
      cuts_parameters_(view.program().cuts_parameters()),
      cuts_gradients_(view.program().cuts_gradients()) {
  for (std::size_t s = 0; s < 2; ++s) {
    if (scope(s).elements == 0) continue;
    refuse_uneven(s);
    Part& part = parts_[s];
    const std::int64_t piece = scope(s).piece, padded = scope(s).padded;
    for (Block* states : {&part.master, &part.first_moment, &part.second_moment}) {
      *states = gpu_.memory.take(piece * kFloat);
      gpu::clear(states->data(), states->bytes(), gpu_.lanes.compute());
    }
    Block& gradients = cuts_gradients_ ? part.cut : part.gradients;
    gradients = gpu_.memory.take((cuts_gradients_ ? piece : padded) * kFloat);
    gpu::clear(gradients.data(), gradients.bytes(), gpu_.lanes.compute());
    Block& parameters = cuts_parameters_ ? part.own : part.parameters;
    parameters = gpu_.memory.take((cuts_parameters_ ? piece : padded) * kHalf);
    gpu::clear(parameters.data(), parameters.bytes(), gpu_.lanes.compute());
    initialise(s, settings);
    find_runs(s);
  }
  refresh();
}

// Kernels and libraries take blocks of 16 bytes.
void DeviceUnit::refuse_uneven(std::size_t s) const {
  const auto even = [](std::int64_t n) { return n % 8 == 0; };
  bool all = even(scope(s).piece);
  for (const FlatWeight& weight : scope(s).weights)
    all = all && even(weight.offset) && even(weight.part.column.room);
  if (!all)
    throw InputError("layout", "",
                     fmt::format("weights of {} elements in pieces of {}: the GPU takes multiples of 8",
                                 scope(s).elements, scope(s).piece));
}

void DeviceUnit::initialise(std::size_t s, const Settings& settings) {
  for (std::size_t w = 0; w < scope(s).weights.size(); ++w) {
    const FlatWeight& weight = scope(s).weights[w];
    std::vector<gpu::ElementRun> runs;
    visit_piece(scope(s), w, [&](const Run&, std::int64_t local, std::int64_t global, std::int64_t count) {
      append(runs, {local, global, count});
    });
    if (runs.empty()) continue;
    const Block there = gpu_.holding(runs);
    const gpu::ElementRuns all{static_cast<const gpu::ElementRun*>(there.data()),
                               static_cast<std::int64_t>(runs.size())};
    float* master = parts_[s].master.floats();
    if (begins_at_one(weight))
      gpu::fill_fp32(all, 1, master, gpu_.lanes.compute());
    else
      gpu::initial_normal({settings.seed, weight.id, settings.initial_deviation}, all, master,
                          gpu_.lanes.compute());
    gpu_.lanes.finish();
  }
}

void DeviceUnit::find_runs(std::size_t s) {
  Part& part = parts_[s];
  std::vector<gpu::ElementRun> owned;
  std::vector<gpu::SharedRun> shared;
  for (std::size_t w = 0; w < scope(s).weights.size(); ++w) {
    visit_piece(scope(s), w, [&](const Run& run, std::int64_t local, std::int64_t, std::int64_t count) {
      if (run.owned) append(owned, {local, local, count});
      if (run.sharers == 1) return;
      shared.push_back({local, part.packed, count, static_cast<std::int64_t>(run.sharers_first),
                        static_cast<std::int64_t>(run.sharers)});
      part.packed += count;
    });
  }
  part.owned = scope(s).counts ? static_cast<std::int64_t>(owned.size()) : 0;
  part.shared = static_cast<std::int64_t>(shared.size());
  if (part.owned > 0) part.owned_runs = gpu_.holding(owned);
  if (part.shared > 0) part.shared_runs = gpu_.holding(shared);
}

char* DeviceUnit::own(std::size_t s) {
  const Part& part = parts_[s];
  if (cuts_parameters_) return static_cast<char*>(part.own.data());
  return static_cast<char*>(part.parameters.data()) + scope(s).first * kHalf;
}

void DeviceUnit::refresh() {
  if (cuts_parameters_) release();  // gathered ahead
  for (std::size_t s = 0; s < 2; ++s) {
    if (scope(s).elements > 0)
      gpu::narrow(parts_[s].master.floats(), own(s), scope(s).piece, gpu_.lanes.compute());
  }
}

const void* DeviceUnit::weight(std::size_t index) {
  const auto [s, place] = flat_.where[index];
  Part& part = parts_[s];
  TW_CHECK(static_cast<bool>(part.parameters));
  gpu_.lanes.await(part.gathered);
  return static_cast<const char*>(part.parameters.data()) + scope(s).weights[place].offset * kHalf;
}

// Cut ones from the first to the reduction. Behind the last weight there are zeros.
void DeviceUnit::take_gradients(std::size_t s) {
  Part& part = parts_[s];
  if (part.gradients || scope(s).elements == 0) return;
  part.gradients = gpu_.memory.take(scope(s).padded * kFloat);
  part.begun.assign(scope(s).weights.size(), false);
  const std::int64_t behind = scope(s).padded - scope(s).elements;
  if (behind > 0)
    gpu::clear(part.gradients.floats() + scope(s).elements, behind * kFloat, gpu_.lanes.compute());
}

float* DeviceUnit::sums(std::size_t index) {
  for (std::size_t s = 0; s < 2; ++s) take_gradients(s);
  const auto [s, place] = flat_.where[index];
  return parts_[s].gradients.floats() + scope(s).weights[place].offset;
}

bool DeviceUnit::begin(std::size_t index) {
  const auto [s, place] = flat_.where[index];
  const bool before = parts_[s].begun[place];
  parts_[s].begun[place] = true;
  return before;
}

float* GradientSum::added() const {
  float* out = unit_->sums(index_);
  if (!unit_->begin(index_))
    gpu::clear(out, unit_->flat().weight(index_).part.local_elements() * kFloat, unit_->gpu_.lanes.compute());
  return out;
}

GradientSum::Next GradientSum::next() const {
  float* out = unit_->sums(index_);
  return {out, unit_->begin(index_) ? gpu::Into::fp32_sum : gpu::Into::fp32};
}

// Weights that nobody wrote a gradient of have none.
void DeviceUnit::complete(std::size_t s) {
  Part& part = parts_[s];
  if (scope(s).elements == 0) return;
  for (std::size_t place = 0; part.gradients && place < part.begun.size(); ++place) {
    if (part.begun[place]) continue;
    const FlatWeight& weight = scope(s).weights[place];
    gpu::clear(part.gradients.floats() + weight.offset, weight.part.local_elements() * kFloat,
               gpu_.lanes.compute());
    part.begun[place] = true;
  }
}

void DeviceUnit::gather() {
  for (std::size_t s = 0; s < 2; ++s) {
    Part& part = parts_[s];
    if (scope(s).elements == 0 || (cuts_parameters_ && part.parameters)) continue;
    if (!part.parameters) part.parameters = gpu_.memory.take(scope(s).padded * kHalf);
    const gpu::Stream stream = gpu_.lanes.begin(Lanes::kState);
    if (scope(s).shards.size() > 1)
      gpu_.peers(Lanes::kState, scope(s).shards)
          .all_gather(own(s), scope(s).piece * kHalf, part.parameters.data(), stream);
    else if (cuts_parameters_)
      gpu::on_device(own(s), part.parameters.data(), scope(s).piece * kHalf, stream);
    part.gathered = gpu_.lanes.end(Lanes::kState);
    part.parameters.used(part.gathered);
  }
}

void DeviceUnit::release() {
  for (Part& part : parts_) part.parameters = Block();
}

void DeviceUnit::reduce() {
  for (std::size_t s = 0; s < 2; ++s) {
    Part& part = parts_[s];
    if (scope(s).elements == 0) continue;
    take_gradients(s);
    complete(s);
    float* whole = part.gradients.floats();
    float* piece = whole + scope(s).first;
    const gpu::Peers::Values values{gpu::Number::fp32, scope(s).piece};
    const bool adds = cuts_gradients_ && std::exchange(part.summed, true), over = cuts_gradients_ && !adds;
    float* to = over ? part.cut.floats() : piece;
    const gpu::Stream stream = gpu_.lanes.begin(Lanes::kState);
    if (scope(s).shards.size() > 1)
      gpu_.peers(Lanes::kState, scope(s).shards).reduce_scatter(values, whole, to, stream);
    else if (over)
      gpu::on_device(piece, to, scope(s).piece * kFloat, stream);
    if (scope(s).replicas.size() > 1)
      gpu_.peers(Lanes::kState, scope(s).replicas).all_reduce(values, to, to, stream);
    if (adds) gpu::add_fp32(piece, part.cut.floats(), scope(s).piece, stream);
    part.reduced = gpu_.lanes.end(Lanes::kState);
    part.gradients.used(part.reduced);
    if (!cuts_gradients_) continue;
    part.gradients = Block();
    gpu_.bound(part.reduced);
  }
}

float* DeviceUnit::field(std::size_t s, Field which) {
  Part& part = parts_[s];
  switch (which) {
    case Field::gradient:
      return cuts_gradients_ ? part.cut.floats() : part.gradients.floats() + scope(s).first;
    case Field::master:
      return part.master.floats();
    case Field::first_moment:
      return part.first_moment.floats();
    default:
      return part.second_moment.floats();
  }
}

float* DeviceUnit::reduced(std::size_t s) {
  gpu_.lanes.await(parts_[s].reduced);
  TW_CHECK(!cuts_gradients_ || parts_[s].summed);
  complete(s);
  return field(s, Field::gradient);
}

// The packs of all ranks of the cut come together, and each adds those that are its own.
void DeviceUnit::sum_shared() {
  for (std::size_t s = 0; s < 2; ++s) {
    Part& part = parts_[s];
    if (part.shared == 0 || scope(s).cuts.size() == 1) continue;
    const gpu::SharedRuns runs{static_cast<const gpu::SharedRun*>(part.shared_runs.data()), part.shared,
                               part.packed};
    const auto ranks = static_cast<std::int64_t>(scope(s).cuts.size());
    Block pack = gpu_.memory.take(part.packed * kFloat), all = gpu_.memory.take(ranks * part.packed * kFloat);
    float* to = reduced(s);
    const gpu::Stream stream = gpu_.lanes.begin(Lanes::kState);
    gpu::pack_shared(runs, to, pack.floats(), stream);
    gpu_.peers(Lanes::kState, scope(s).cuts).all_gather(pack.data(), pack.bytes(), all.data(), stream);
    gpu::sum_shared(runs, all.floats(), to, stream);
    part.reduced = gpu_.lanes.end(Lanes::kState);
    pack.used(part.reduced), all.used(part.reduced);
  }
}

void DeviceUnit::sum_copies(Group group) {
  for (std::size_t s = 0; s < 2; ++s) {
    if (scope(s).elements == 0) continue;
    float* piece = reduced(s);
    const gpu::Stream stream = gpu_.lanes.begin(Lanes::kState);
    gpu_.peers(Lanes::kState, group).all_reduce({gpu::Number::fp32, scope(s).piece}, piece, piece, stream);
    parts_[s].reduced = gpu_.lanes.end(Lanes::kState);
  }
}

void DeviceUnit::add_reduced(DeviceUnit& other) {
  for (std::size_t s = 0; s < 2; ++s) {
    if (scope(s).elements > 0)
      gpu::add_fp32(other.reduced(s), reduced(s), scope(s).piece, gpu_.lanes.compute());
  }
}

void DeviceUnit::take_reduced(DeviceUnit& other) {
  for (std::size_t s = 0; s < 2; ++s) {
    if (scope(s).elements > 0)
      gpu::on_device(other.reduced(s), reduced(s), scope(s).piece * kFloat, gpu_.lanes.compute());
  }
}

void DeviceUnit::begin_step() {
  for (std::size_t s = 0; s < 2; ++s)
    parts_[s].begun.assign(scope(s).weights.size(), false), parts_[s].summed = false;
}

void DeviceUnit::add_squares(double* sum) {
  for (std::size_t s = 0; s < 2; ++s) {
    const Part& part = parts_[s];
    if (part.owned > 0)
      gpu::sum_of_squares({static_cast<const gpu::ElementRun*>(part.owned_runs.data()), part.owned},
                          reduced(s), sum, gpu_.lanes.compute());
  }
}

void DeviceUnit::update(const Settings& settings, const float* factor, std::int64_t step) {
  const auto number = [](double value) { return static_cast<float>(value); };
  const auto power = static_cast<double>(step);
  const gpu::AdamWStep adam{number(settings.learning_rate),
                            number(settings.beta1),
                            number(settings.beta2),
                            number(settings.epsilon),
                            number(settings.weight_decay),
                            number(1 - std::pow(settings.beta1, power)),
                            number(1 - std::pow(settings.beta2, power))};
  for (std::size_t s = 0; s < 2; ++s) {
    if (scope(s).elements == 0) continue;
    const Part& part = parts_[s];
    gpu::adamw_clipped(adam, factor,
                       {reduced(s), part.master.floats(), part.first_moment.floats(),
                        part.second_moment.floats(), own(s), scope(s).piece},
                       gpu_.lanes.compute());
  }
}

std::int64_t DeviceUnit::bytes() const {
  std::int64_t sum = 0;
  for (const Part& part : parts_) {
    for (const Block* each : {&part.parameters, &part.own, &part.gradients, &part.cut, &part.master,
                              &part.first_moment, &part.second_moment})
      sum += each->bytes();
  }
  return sum;
}

// The part of this rank's piece that is the weight's: side by side, though padding may lie in it.
DeviceUnit::Stretch DeviceUnit::stretch(std::size_t s, std::size_t place) const {
  Stretch out{scope(s).piece, 0};
  visit_piece(scope(s), place, [&](const Run&, std::int64_t local, std::int64_t, std::int64_t count) {
    out = {std::min(out.begin, local), std::max(out.end, local + count)};
  });
  return out;
}

std::vector<float> DeviceUnit::on_host(std::size_t s, Field which, Stretch part) {
  std::vector<float> values(static_cast<std::size_t>(std::max<std::int64_t>(part.end - part.begin, 0)));
  if (values.empty()) return values;
  gpu_.lanes.finish();
  gpu::to_host(field(s, which) + part.begin, values.data(), (part.end - part.begin) * kFloat,
               gpu_.lanes.compute());
  gpu_.lanes.finish();
  return values;
}

void DeviceUnit::put(Field which, std::size_t weight, std::span<double> whole) {
  const auto [s, place] = flat_.where[weight];
  if (!scope(s).counts) return;
  const Stretch part = stretch(s, place);
  const std::vector<float> values = on_host(s, which, part);
  visit_piece(scope(s), place,
              [&](const Run& run, std::int64_t local, std::int64_t global, std::int64_t count) {
                if (run.owned)
                  std::copy_n(values.begin() + local - part.begin, count, whole.begin() + global);
              });
}

void DeviceUnit::take(Field which, std::size_t weight, std::span<const double> whole) {
  const auto [s, place] = flat_.where[weight];
  const Stretch part = stretch(s, place);
  std::vector<float> values = on_host(s, which, part);
  if (values.empty()) return;
  visit_piece(scope(s), place, [&](const Run&, std::int64_t local, std::int64_t global, std::int64_t count) {
    std::transform(whole.begin() + global, whole.begin() + global + count,
                   values.begin() + local - part.begin,
                   [](double value) { return static_cast<float>(value); });
  });
  gpu::to_device(values.data(), field(s, which) + part.begin, (part.end - part.begin) * kFloat,
                 gpu_.lanes.compute());
  gpu_.lanes.finish();
}

}  // namespace tw::train
