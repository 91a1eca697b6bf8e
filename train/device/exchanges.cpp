// Changes of placement on the network lane: rows cut over a group, whole on each, or partial sums; and
// tokens for heads.
#include "topology/check.hpp"
#include "train/device/operations.hpp"

namespace tw::train {

// Partial sums are added in bf16, as they are stored.
void DeviceOperations::convert(DeviceCall& call) {
  if (call.value(call.io.reads[0]).routed) return convert_routed(call);
  const Group group = view_.group(call.io.group);
  const auto n = static_cast<std::int64_t>(group.size());
  const DeviceHandle& x = call.reads[0];
  const bool gathers = call.io.conversion == Conversion::all_gather;
  const bool cuts =
      call.io.conversion == Conversion::reduce_scatter || call.io.conversion == Conversion::slice;
  const std::int64_t rows = gathers ? x->rows * n : cuts ? x->rows / n : x->rows;
  if (call.io.conversion == Conversion::slice) {
    const void* from = read(x);
    call.writes[0] = tensor(rows, x->width);
    const auto first = static_cast<std::int64_t>(view_.index_in(group)) * rows * x->width;
    return gpu::on_device(static_cast<const char*>(from) + 2 * first, call.writes[0]->data(),
                          call.writes[0]->bytes(), compute());
  }
  gpu_.lanes.await(x->ready);
  DeviceHandle out = tensor(rows, x->width);
  out->ready = on_network({&x->block, &out->block}, [&](gpu::Stream stream) {
    const gpu::Peers& all = peers(group);
    if (gathers) return all.all_gather(x->data(), x->bytes(), out->data(), stream);
    const gpu::Peers::Values values{gpu::Number::bf16, out->size()};
    if (cuts) return all.reduce_scatter(values, x->data(), out->data(), stream);
    TW_CHECK(call.io.conversion == Conversion::all_reduce);
    all.all_reduce(values, x->data(), out->data(), stream);
  });
  call.writes[0] = std::move(out);
}

// All heads of this rank's tokens <-> this rank's heads of all tokens, in the order of the sequences. The
// exchange reads or writes those tokens where they are, a sequence after the other.
void DeviceOperations::spread_heads(DeviceCall& call, bool to_heads) {
  const Group group = view_.group(call.io.group);
  const auto n = static_cast<std::int64_t>(group.size());
  const HeadShape& heads = call.io.heads;
  const DeviceHandle& x = call.reads[0];
  const std::int64_t rows = to_heads ? x->rows : x->rows / n, width = to_heads ? x->width : x->width * n;
  const std::int64_t keys = call.io.what == Operator::spread_heads ? heads.kv_heads * heads.head_dim : 0;
  const gpu::HeadSplit split{sequences_count_, rows / sequences_count_, n, {width - 2 * keys, keys, keys}};
  gpu_.lanes.await(x->ready);
  DeviceHandle y = to_heads ? tensor(rows * n, width / n) : tensor(rows, width);
  Block parts = gpu_.memory.take(rows * width * 2);
  const std::int64_t each = split.length * width * 2;  // bytes of a sequence
  const std::vector<std::int64_t> bytes(group.size(), each / n);
  const auto exchange = [&](void* from, void* to, gpu::Stream stream) {
    std::vector<gpu::Peers::Cut> cuts;
    for (std::int64_t i = 0; i < sequences_count_; ++i)
      cuts.push_back({static_cast<char*>(from) + i * each, bytes, static_cast<char*>(to) + i * each, bytes});
    peers(group).all_to_all(cuts, stream);
  };
  y->ready = on_network({&x->block, &y->block, &parts}, [&](gpu::Stream stream) {
    if (to_heads) {
      gpu::split_heads(split, x->data(), parts.data(), stream);
      return exchange(parts.data(), y->data(), stream);
    }
    exchange(x->data(), parts.data(), stream);
    gpu::join_heads(split, parts.data(), y->data(), stream);
  });
  call.writes[0] = std::move(y);
}

}  // namespace tw::train
