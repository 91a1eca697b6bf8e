// A head whose logits are never whole: its forward waits for its backward, and both go over some rows after
// the others: logits, loss, their gradient over them, the input's gradient, the weight's. Of the last rows
// the weight's is left for its own operation, which runs beside the exchange of the input's.
#include <algorithm>

#include "topology/check.hpp"
#include "train/device/operations.hpp"

namespace tw::train {
namespace {

// Who holds the other parts of the vocabulary.
const Operands* merge_of(const LayerWork& work) {
  for (const Operands& io : work.operands.forward) {
    if (io.what == Operator::merge_scores) return &io;
  }
  return nullptr;
}

}  // namespace

DeviceOperations::ChunkedHead& DeviceOperations::head(const DeviceCall& call) {
  return heads_[{call.unit, call.microbatch}];
}

void DeviceOperations::open_head(DeviceCall& call, const Parameter& w) {
  heads_.erase({call.unit, call.microbatch});  // of a forward that is replayed
  head(call).x = call.reads[0];
  auto out = std::make_shared<DeviceTensor>();
  out->rows = call.reads[0]->rows, out->width = w.flat->part.local_rows();
  call.writes[0] = std::move(out);
}

gpu::VocabularyPart DeviceOperations::vocabulary(const DeviceCall& call, std::int64_t rows,
                                                 std::int64_t width) {
  const WeightUse table = head_table(view_, call.work, call.unit);
  const Extent& entries = state(table.unit).flat().weight(table.index).part.row[0];
  return {rows, width, entries.first,
          std::clamp<std::int64_t>(view_.model().vocab - entries.first, 0, width)};
}

double DeviceOperations::loss_scale() const {
  return 1.0 / static_cast<double>(view_.global_batch() * view_.seq());
}

// parts: of these rows, over the whole vocabulary.
void DeviceOperations::score_chunk(const DeviceCall& call, gpu::VocabularyPart part,
                                   const std::int32_t* targets, Rows at) {
  const auto scale = static_cast<float>(loss_scale());
  const Operands* merge = merge_of(call.work);
  if (merge == nullptr) return gpu::score_and_gradient(part, targets, scale, at.logits, at.parts, compute());
  const Group group = view_.group(merge->group);
  const auto ranks = static_cast<std::int64_t>(group.size());
  const std::int64_t bytes = 3 * 4 * part.rows;
  Block mine = gpu_.memory.take(bytes), all = gpu_.memory.take(ranks * bytes);
  gpu::score_forward(part, targets, at.logits, mine.floats(), compute());
  const Ticket merged = on_network({&mine, &all, &head(call).parts->block}, [&](gpu::Stream stream) {
    peers(group).all_gather(mine.data(), bytes, all.data(), stream);
    gpu::merge_scores(part.rows, ranks, all.floats(), at.parts, stream);
  });
  gpu_.lanes.await(merged);
  gpu::score_backward(part, {targets, at.parts}, scale, at.logits, compute());
}

void DeviceOperations::head_backward(DeviceCall& call, const Parameter& w) {
  ChunkedHead& own = head(call);
  TW_CHECK(own.x && own.parts);
  const std::int64_t out = w.flat->part.local_rows(), in = w.flat->part.column.room, rows = own.x->rows;
  const auto most = std::min(rows, static_cast<std::int64_t>(call.value(call.io.reads[0]).at_once));
  const auto* x = static_cast<const char*>(read(own.x));
  float* parts = own.parts->block.floats();
  const std::int32_t* targets = tokens(call, true);
  call.writes[0] = tensor(rows, in);
  auto* dx = static_cast<char*>(call.writes[0]->data());
  own.gradient = gpu_.memory.take(most * out * 2);
  void* logits = own.gradient.data();
  for (std::int64_t first = 0; first < rows; first += most) {
    if (first > 0) weight_of_head(call, own);
    own.first = first, own.rows = std::min(most, rows - first);
    const gpu::GemmCall product{gpu::Product::forward, own.rows, out, in};
    gpu_.gemm(product).run({x + first * in * 2, w.value, logits});
    score_chunk(call, vocabulary(call, own.rows, out), targets + first, {logits, parts + 3 * first});
    gpu_.gemm({gpu::Product::dgrad, own.rows, out, in}).run({logits, w.value, dx + first * in * 2});
  }
  if (view_.cut_index() == 0) gpu::add_loss(rows, parts, loss_scale(), sums() + 1, compute());
}

// Of the chunk whose gradient is there.
void DeviceOperations::weight_of_head(const DeviceCall& call, const ChunkedHead& own) {
  WeightUse use = weight_use(view_, call.io, call.unit);
  use.read = false, use.gradient = true;
  const Parameter w = parameter_of<Parameter>(*this, use);
  const std::int64_t out = w.flat->part.local_rows(), in = w.flat->part.column.room;
  const auto [sum, into] = w.gradient.next();
  const auto* x = static_cast<const char*>(own.x->data());
  gpu_.gemm({gpu::Product::wgrad, own.rows, out, in, into})
      .run({own.gradient.data(), x + own.first * in * 2, sum});
}

void DeviceOperations::end_head(DeviceCall& call) {
  ChunkedHead& own = head(call);
  TW_CHECK(static_cast<bool>(own.gradient));
  weight_of_head(call, own);
  own = ChunkedHead();
}

}  // namespace tw::train
