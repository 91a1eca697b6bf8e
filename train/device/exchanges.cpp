// Changes of placement on the network lane: rows cut over a group, whole on each, or partial sums; and
// tokens for heads.
#include "topology/check.hpp"
#include "train/device/operations.hpp"

namespace tw::train {

// Partial sums are added in bf16, as they are stored.
void DeviceOperations::convert(DeviceCall& call) {
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
// pieces of a rank lie together while they travel: [rank][sequence][token][section's part].
void DeviceOperations::spread_heads(DeviceCall& call, bool to_heads) {
  const Group group = view_.group(call.io.group);
  const auto n = static_cast<std::int64_t>(group.size());
  const HeadShape& heads = call.io.heads;
  const DeviceHandle& x = call.reads[0];
  std::vector<std::int64_t> sections = {heads.heads * heads.head_dim};
  if (call.io.what == Operator::spread_heads)
    sections.insert(sections.end(), 2, heads.kv_heads * heads.head_dim);
  const std::int64_t rows = to_heads ? x->rows : x->rows / n, width = to_heads ? x->width : x->width * n;
  const std::int64_t part = width / n, length = rows / sequences_count_;
  gpu_.lanes.await(x->ready);
  DeviceHandle y = to_heads ? tensor(rows * n, part) : tensor(rows, width);
  Block cut = gpu_.memory.take(rows * width * 2), whole = gpu_.memory.take(rows * width * 2);
  const auto at = [](void* data, std::int64_t element) { return static_cast<char*>(data) + 2 * element; };
  // Between rows with all heads and [rank][row][section's part].
  const auto each_section = [&](void* wide, gpu::Stream stream) {
    for (std::int64_t rank = 0; rank < n; ++rank) {
      std::int64_t column = 0, inside = 0;
      for (const std::int64_t section : sections) {
        const std::int64_t piece = section / n;
        char* apart = at(cut.data(), rank * rows * part + inside);
        char* packed = at(wide, column + rank * piece);
        gpu::copy_pitched(to_heads ? gpu::Pitched{packed, apart, 2 * width, 2 * part, 2 * piece, rows}
                                   : gpu::Pitched{apart, packed, 2 * part, 2 * width, 2 * piece, rows},
                          stream);
        column += section, inside += piece;
      }
    }
  };
  // Between [rank][sequence] and [sequence][rank].
  const auto each_sequence = [&](void* of_ranks, void* of_sequences, gpu::Stream stream) {
    for (std::int64_t rank = 0; rank < n; ++rank) {
      char* by_rank = at(of_ranks, rank * rows * part);
      char* by_sequence = at(of_sequences, rank * length * part);
      const std::int64_t size = 2 * length * part;
      gpu::copy_pitched(to_heads ? gpu::Pitched{by_rank, by_sequence, size, size * n, size, sequences_count_}
                                 : gpu::Pitched{by_sequence, by_rank, size * n, size, size, sequences_count_},
                        stream);
    }
  };
  const std::vector<std::int64_t> bytes(group.size(), rows * part * 2);
  y->ready = on_network({&x->block, &y->block, &cut, &whole}, [&](gpu::Stream stream) {
    if (to_heads) {
      each_section(x->data(), stream);
      peers(group).all_to_all({cut.data(), bytes, whole.data(), bytes}, stream);
      each_sequence(whole.data(), y->data(), stream);
    } else {
      each_sequence(whole.data(), x->data(), stream);
      peers(group).all_to_all({whole.data(), bytes, cut.data(), bytes}, stream);
      each_section(y->data(), stream);
    }
  });
  call.writes[0] = std::move(y);
}

}  // namespace tw::train
