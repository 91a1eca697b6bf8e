// Routed layers: the choice of experts, and the way of the rows to them and back.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "topology/check.hpp"
#include "train/device/operations.hpp"

namespace tw::train {
namespace {

std::int64_t sum_of(const std::vector<std::int64_t>& values) {
  return std::accumulate(values.begin(), values.end(), std::int64_t{0});
}

}  // namespace

std::int64_t DeviceRoutes::total() const {
  return sum_of(rows);
}

gpu::RouterSize DeviceOperations::router(std::int64_t rows) const {
  const Moe& moe = *view_.model().moe();
  return {rows, moe.experts, moe.top_k, settings_.renormalise};
}

gpu::RouterBalance DeviceOperations::balance_of(const DeviceHandle& fractions, std::int64_t rows) const {
  const double slope = settings_.balance / static_cast<double>(view_.global_batch()) *
                       static_cast<double>(view_.model().moe()->experts) / static_cast<double>(view_.seq());
  return {fractions->block.floats(), static_cast<float>(slope), sequences(rows)};
}

void DeviceOperations::choose(DeviceCall& call) {
  if (!call.backward()) {
    const DeviceHandle& logits = call.reads[0];
    const void* in = read(logits);
    const gpu::RouterSize size = router(logits->rows);
    DeviceHandle out = tensor(size.rows, size.experts, gpu::Number::fp32);
    out->experts = gpu_.memory.take(size.rows * size.top_k * 4);
    out->weights = gpu_.memory.take(size.rows * size.top_k * 4);
    gpu::router_forward(size, in, {out->block.floats(), out->experts.ints(), out->weights.floats()},
                        compute());
    call.writes[0] = std::move(out);
    return;
  }
  const DeviceHandle &gradient = call.reads[0], &choice = call.reads[1], &fractions = call.reads[2];
  const auto* weights = static_cast<const float*>(read(gradient));
  read(choice), read(fractions);
  call.writes[0] = tensor(choice->rows, choice->width);
  gpu::router_backward(router(choice->rows),
                       {choice->block.floats(), choice->experts.ints(), choice->weights.floats()}, weights,
                       balance_of(fractions, choice->rows), call.writes[0]->data(), compute());
}

void DeviceOperations::balance(DeviceCall& call) {
  const DeviceHandle& choice = call.reads[0];
  const Group group = view_.group(call.io.group);
  const gpu::RouterSize size = router(choice->rows);
  DeviceHandle out = tensor(sequences_count_, size.experts, gpu::Number::fp32);
  const auto share = static_cast<float>(1.0 / static_cast<double>(view_.seq() * size.top_k));
  out->ready = on_network({&choice->block, &choice->experts, &out->block}, [&](gpu::Stream stream) {
    float* counts = out->block.floats();
    gpu::clear(counts, out->bytes(), stream);
    gpu::count_routes(size, choice->experts.ints(), sequences(choice->rows), counts, stream);
    if (group.size() > 1) peers(group).all_reduce({gpu::Number::fp32, out->size()}, counts, counts, stream);
    gpu::to_fractions({sequences_count_, size.experts, share, settings_.balance_pooled}, counts, stream);
    if (settings_.balance != 0)
      gpu::add_balance_loss(size, choice->block.floats(), balance_of(out, choice->rows), sums() + 2, stream);
  });
  call.writes[0] = std::move(out);
}

void DeviceOperations::permute(DeviceCall& call) {
  if (!call.backward()) return permute_forward(call);
  DeviceRoutes& way = routes(call);
  const DeviceHandle& gradient = call.reads[0];
  const void* in = read(gradient);
  gpu_.lanes.await(way.ready);
  const auto rows = std::llround(call.value(call.io.writes[0]).rows);
  const std::int64_t chosen = view_.model().moe()->top_k;
  call.writes[0] = tensor(rows, gradient->width);
  call.writes[1] = tensor(rows, chosen, gpu::Number::fp32);
  gpu::sum_routes({rows, chosen, gradient->width}, way.place.ints(), in, call.writes[0]->data(), compute());
  gpu::gather_fp32(rows * chosen, way.place.ints(), way.factor_gradients.floats(),
                   call.writes[1]->block.floats(), compute());
}

void DeviceOperations::permute_forward(DeviceCall& call) {
  const DeviceHandle &tokens = call.reads[0], &choice = call.reads[1];
  const void* in = read(tokens);
  read(choice);
  const gpu::RouterSize size = router(tokens->rows);
  const std::int64_t all = size.rows * size.top_k;
  routes_.erase({call.unit, call.microbatch});  // of a forward that is replayed
  DeviceRoutes& way = routes(call);
  way.counts = gpu_.memory.take(size.experts * 8);
  for (Block* each : {&way.place, &way.factors}) *each = gpu_.memory.take(all * 4);
  gpu::order_routes(size, {choice->block.floats(), choice->experts.ints(), choice->weights.floats()},
                    {static_cast<std::int64_t*>(way.counts.data()), way.place.ints(), way.factors.floats()},
                    compute());
  auto* counted = gpu_.staging.array<std::int64_t>(static_cast<std::size_t>(size.experts));
  gpu::to_host(way.counts.data(), counted, size.experts * 8, compute());
  way.counted = counted;
  way.there.record(compute());
  call.writes[0] = tensor(all, tokens->width);
  gpu::spread_rows({size.rows, size.top_k, tokens->width}, way.place.ints(), in, call.writes[0]->data(),
                   compute());
}

// For a host that must know: cut experts. Products read the numbers where the GPU has them.
void DeviceOperations::count_here(DeviceRoutes& way) {
  if (!way.arrived.empty()) return;
  way.there.wait();
  way.arrived.assign(way.counted, way.counted + view_.model().moe()->experts);
  way.rows = way.arrived;
}

gpu::GroupedRows DeviceOperations::grouped(DeviceRoutes& way, const DeviceTensor& x, std::int64_t weights) {
  const auto rows_in = [&](const Block& block, std::size_t groups) {
    return gpu::GroupedRows{static_cast<const std::int64_t*>(block.data()), static_cast<std::int64_t>(groups),
                            weights, x.rows};
  };
  if (way.rows.empty()) return rows_in(way.counts, static_cast<std::size_t>(view_.model().moe()->experts));
  TW_CHECK(way.total() == x.rows);
  if (!way.group_rows) {
    auto* sent = gpu_.staging.array<std::int64_t>(way.rows.size());
    std::copy(way.rows.begin(), way.rows.end(), sent);
    way.group_rows = gpu_.memory.take(static_cast<std::int64_t>(way.rows.size() * 8));
    gpu::to_device(sent, way.group_rows.data(), way.group_rows.bytes(), compute());
  }
  return rows_in(way.group_rows, way.rows.size());
}

void DeviceOperations::linear_of_experts(DeviceCall& call, const Parameter& w) {
  const DeviceHandle& x = call.reads[0];
  const gpu::GroupedShape shape{w.flat->part.local_rows(), w.flat->part.column.room};
  const gpu::GroupedRows rows = grouped(routes(call), *x, w.flat->weight->local_groups);
  const void* left = read(x);
  if (call.io.half == Half::weight_gradient) {
    const void* kept = read(call.reads[1]);
    const auto [sum, into] = w.gradient.next();
    return gpu::grouped_wgrad(shape, rows, left, kept, sum, compute(), into);
  }
  const bool forward = call.io.half == Half::forward;
  if (!call.writes[0])
    call.writes[0] = tensor(x->rows, forward ? shape.n : shape.k);  // there where it was put off
  if (forward)
    gpu::grouped_forward(shape, rows, left, w.value, call.writes[0]->data(), compute());
  else
    gpu::grouped_dgrad(shape, rows, left, w.value, call.writes[0]->data(), compute());
}

// Gate and up of the experts, and what they make of them.
void DeviceOperations::experts_and_activation(DeviceCall& call) {
  const DeviceHandle &x = put_off_->reads[0], &gate_up = put_off_->writes[0];
  const Parameter w = parameter(*put_off_);
  DeviceRoutes& way = routes(call);
  const gpu::GroupedRows rows = grouped(way, *x, w.flat->weight->local_groups);
  const void* in = read(x);
  gpu_.lanes.await(way.ready);
  call.writes[0] = tensor(gate_up->rows, gate_up->width / 2);
  gpu::grouped_swiglu({gate_up->width / 2, w.flat->part.column.room}, rows, in, w.value,
                      {way.factors.floats(), gate_up->data(), call.writes[0]->data()}, compute());
}

// Rows that lie by source, and by expert within one: how many each expert has, and where they go when they
// are sorted by expert.
void DeviceRoutes::set_rows(const std::vector<std::int64_t>& segments, std::size_t local) {
  rows.assign(local, 0), sorted.clear();
  std::vector<std::int64_t> first;
  std::int64_t at = 0;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    rows[i % local] += segments[i];
    first.push_back(at), at += segments[i];
  }
  std::int64_t to = 0;
  for (std::size_t e = 0; e < local; ++e) {
    for (std::size_t i = e; i < segments.size(); i += local) {
      if (segments[i] > 0) sorted.push_back({first[i], to, segments[i]});
      to += segments[i];
    }
  }
}

// How many rows each rank's experts get from this one, and this rank's from each.
void DeviceOperations::exchange_counts(DeviceRoutes& way, Group group) {
  const auto n = static_cast<std::int64_t>(group.size());
  const std::int64_t experts = view_.model().moe()->experts, local = experts / n;
  Block in = gpu_.memory.take(experts * 8);
  const std::vector<std::int64_t> bytes(group.size(), local * 8);
  auto* received = gpu_.staging.array<std::int64_t>(static_cast<std::size_t>(experts));
  on_network({&way.counts, &in}, [&](gpu::Stream stream) {
    peers(group).all_to_all({{{way.counts.data(), bytes, in.data(), bytes}}}, stream);
    gpu::to_host(in.data(), received, experts * 8, stream);
    way.there.record(stream);
  });
  way.there.wait();
  way.sent.assign(group.size(), 0), way.received.assign(group.size(), 0);
  for (std::int64_t e = 0; e < experts; ++e) {
    way.sent[static_cast<std::size_t>(e / local)] += way.counted[e];
    way.received[static_cast<std::size_t>(e / local)] += received[e];
  }
  way.arrived.assign(received, received + experts);
  way.set_rows(way.arrived, static_cast<std::size_t>(local));
}

void DeviceOperations::dispatch(DeviceCall& call, bool to_experts) {
  const Group group = view_.group(call.io.group);
  DeviceRoutes& way = routes(call);
  const DeviceHandle& x = call.reads[0];
  const bool dispatches = call.io.what == Operator::dispatch, opens = dispatches && !call.backward();
  gpu_.lanes.await(x->ready);
  if (opens) exchange_counts(way, group);
  const std::vector<std::int64_t>&out = to_experts ? way.sent : way.received,
        &in = to_experts ? way.received : way.sent;
  DeviceHandle y = tensor(sum_of(in), x->width);
  const auto bytes = [](std::vector<std::int64_t> rows, std::int64_t width) {
    for (std::int64_t& count : rows) count *= width;
    return rows;
  };
  const std::vector<std::int64_t> out_rows = bytes(out, x->width * 2), in_rows = bytes(in, x->width * 2),
                                  out_values = bytes(out, 4), in_values = bytes(in, 4);
  Block& values = opens ? way.factors : way.factor_gradients;
  Block moved;
  if (dispatches) moved = gpu_.memory.take(sum_of(in) * 4);
  y->ready = on_network({&x->block, &y->block, &values, &moved}, [&](gpu::Stream stream) {
    const gpu::Peers::Cut cuts[] = {{x->data(), out_rows, y->data(), in_rows},
                                    {values.data(), out_values, moved.data(), in_values}};
    peers(group).all_to_all({cuts, dispatches ? std::size_t{2} : std::size_t{1}}, stream);
  });
  if (dispatches) values = std::move(moved), way.ready = y->ready;
  call.writes[0] = std::move(y);
}

// By expert, and in the order of arrival within one.
void DeviceOperations::sort(DeviceCall& call, bool to_experts) {
  DeviceRoutes& way = routes(call);
  const DeviceHandle& x = call.reads[0];
  std::vector<gpu::RowBlockMove> moves = way.sorted;
  if (!to_experts) {
    for (gpu::RowBlockMove& each : moves) std::swap(each.from, each.to);
  }
  const gpu::RowMoves order{moves.data(), static_cast<std::int64_t>(moves.size()), x->width * 2};
  const void* in = read(x);
  call.writes[0] = tensor(x->rows, x->width);
  if (call.io.what != Operator::sort) return gpu::move_rows(order, {in, call.writes[0]->data()}, compute());
  Block& values = call.backward() ? way.factor_gradients : way.factors;
  gpu_.lanes.await(way.ready);
  Block moved = gpu_.memory.take(x->rows * 4);
  gpu::move_rows(order, {in, call.writes[0]->data(), values.floats(), moved.floats()}, compute());
  values = std::move(moved);
}

void DeviceOperations::unpermute(DeviceCall& call) {
  DeviceRoutes& way = routes(call);
  const DeviceHandle& x = call.reads[0];
  const void* in = read(x);
  const std::int64_t chosen = view_.model().moe()->top_k;
  if (call.backward()) {
    call.writes[0] = tensor(x->rows * chosen, x->width);
    return gpu::spread_rows({x->rows, chosen, x->width}, way.place.ints(), in, call.writes[0]->data(),
                            compute());
  }
  const auto rows = std::llround(call.value(call.io.writes[0]).rows);
  call.writes[0] = tensor(rows, x->width);
  gpu::sum_routes({rows, chosen, x->width}, way.place.ints(), in, call.writes[0]->data(), compute());
}

}  // namespace tw::train
