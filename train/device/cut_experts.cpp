// Experts that are cut themselves: each rank has a part of their weights and reads the rows of all, which
// come together before and are summed after. Routed rows differ in number from rank to rank.
#include <numeric>

#include "topology/check.hpp"
#include "train/device/operations.hpp"

namespace tw::train {
namespace {

std::vector<std::int64_t> times(std::vector<std::int64_t> rows, std::int64_t width) {
  for (std::int64_t& count : rows) count *= width;
  return rows;
}

std::int64_t sum_of(const std::vector<std::int64_t>& values) {
  return std::accumulate(values.begin(), values.end(), std::int64_t{0});
}

}  // namespace

void DeviceOperations::convert_routed(DeviceCall& call) {
  const Group group = view_.group(call.io.group);
  if (call.io.conversion == Conversion::all_gather) return gather_routed(call, group);
  TW_CHECK(call.io.conversion == Conversion::reduce_scatter);
  reduce_routed(call, group);
}

// The host has counted the rows here, so hosts tell each other; the GPU goes on meanwhile. Rows that were
// dispatched are sorted next; others lie by expert in each rank's piece, and stay so.
void DeviceOperations::gather_counts(DeviceRoutes& way, Group group) {
  count_here(way);
  const std::size_t segments = way.arrived.size();
  std::vector<std::int64_t> all(group.size() * segments);
  gpu_.messages().all_gather(group, way.arrived.data(), static_cast<std::int64_t>(segments * 8), all.data());
  for (auto piece = all.begin(); piece != all.end(); piece += static_cast<std::ptrdiff_t>(segments))
    way.gathered.push_back(
        std::accumulate(piece, piece + static_cast<std::ptrdiff_t>(segments), std::int64_t{0}));
  if (way.received.empty())
    way.rows = std::move(all);
  else
    way.set_rows(all, segments / way.received.size());
}

// With rows on their way to the experts goes what each is multiplied by, as it arrived here: a backward
// that gathers them again finds the same.
void DeviceOperations::gather_routed(DeviceCall& call, Group group) {
  const Value& from = call.value(call.io.reads[0]);
  const DeviceHandle& x = call.reads[0];
  DeviceRoutes& way = routes(call);
  gpu_.lanes.await(x->ready);
  const bool opens = !from.gradient;
  if (opens && way.gathered.empty()) {
    gather_counts(way, group);
    way.arrived_factors = std::move(way.factors);
  }
  const std::int64_t rows = sum_of(way.gathered);
  DeviceHandle y = tensor(rows, x->width);
  if (opens) way.factors = gpu_.memory.take(rows * 4);
  y->ready = on_network({&x->block, &y->block, &way.arrived_factors, &way.factors}, [&](gpu::Stream stream) {
    peers(group).all_gather_v(x->data(), times(way.gathered, x->width * 2), y->data(), stream);
    if (opens)
      peers(group).all_gather_v(way.arrived_factors.data(), times(way.gathered, 4), way.factors.data(),
                                stream);
  });
  if (opens) way.ready = y->ready;
  call.writes[0] = std::move(y);
}

void DeviceOperations::reduce_routed(DeviceCall& call, Group group) {
  const bool returns = call.value(call.io.reads[0]).gradient;
  const DeviceHandle& x = call.reads[0];
  DeviceRoutes& way = routes(call);
  gpu_.lanes.await(x->ready);
  const std::int64_t rows = way.gathered[view_.index_in(group)];
  DeviceHandle y = tensor(rows, x->width);
  Block factors;
  if (returns) factors = gpu_.memory.take(rows * 4);
  y->ready = on_network({&x->block, &y->block, &way.factor_gradients, &factors}, [&](gpu::Stream stream) {
    peers(group).reduce_scatter_v(gpu::Number::bf16, times(way.gathered, x->width), x->data(), y->data(),
                                  stream);
    if (returns)
      peers(group).reduce_scatter_v(gpu::Number::fp32, way.gathered, way.factor_gradients.data(),
                                    factors.data(), stream);
  });
  if (returns) way.factor_gradients = std::move(factors), way.ready = y->ready;
  call.writes[0] = std::move(y);
}

}  // namespace tw::train
