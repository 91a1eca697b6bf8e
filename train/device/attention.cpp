// Attention on packed rows [q | k | v]: whole sequences, or this rank's part of them with the keys and
// values of the others coming around a ring. Each hop is under way while attention to the block before it
// runs; what the blocks give is folded in fp32.
#include "topology/check.hpp"
#include "train/device/operations.hpp"

namespace tw::train {
namespace {

char* moved(void* data, std::int64_t elements) {
  return static_cast<char*>(data) + 2 * elements;
}

std::int64_t query_width(const HeadShape& heads) {
  return heads.heads * heads.head_dim;
}
std::int64_t key_width(const HeadShape& heads) {
  return heads.kv_heads * heads.head_dim;
}

// The block of a hop among as many rows each.
void* block_of(const DeviceTensor& blocks, std::int64_t hop, std::int64_t rows) {
  return blocks.at((hop - 1) * rows * blocks.width);
}

}  // namespace

void DeviceOperations::attention(DeviceCall& call) {
  return call.backward() ? attention_backward(call) : attention_forward(call);
}

// Of this rank's own block, or of whole sequences.
gpu::AttentionCall DeviceOperations::attention_of(const DeviceCall& call, const DeviceTensor& rows) const {
  const HeadShape& heads = call.io.heads;
  return {sequences_count_, heads.heads,     heads.kv_heads, rows.rows / sequences_count_,
          heads.head_dim,   call.backward(), rows.width};
}

// Partial results: outputs, then log-sum-exps.
gpu::FoldState DeviceOperations::state_in(const DeviceHandle& partial, const HeadShape& heads) const {
  float* out = partial->block.floats();
  return {out, out + rows_ * query_width(heads)};
}

// Reads rows, then the ring's blocks and the partial state, as far as there are any. First: this rank's
// own keys and all that came before the last hop. Last: the last hop's.
void DeviceOperations::attention_forward(DeviceCall& call) {
  const DeviceHandle& rows = call.reads[0];
  const HeadShape& heads = call.io.heads;
  const std::int64_t width = query_width(heads);
  const bool ring = call.reads.size() > 1, first = call.reads.size() < 3;
  if (!first) return fold_block(call, std::ssize(seen_), call.reads[2], true);
  char* packed = static_cast<char*>(read(rows));
  DeviceHandle out = tensor(rows->rows, width);
  DeviceHandle sums = ring ? tensor(rows->rows, width + heads.heads, gpu::Number::fp32)
                           : tensor(rows->rows, heads.heads, gpu::Number::fp32);
  float* log_sum_exp = ring ? state_in(sums, heads).log_sum_exp : sums->block.floats();
  gpu_.attention(attention_of(call, *rows))
      .run({.q = packed,
            .k = moved(packed, width),
            .v = moved(packed, width + key_width(heads)),
            .out = out->data(),
            .log_sum_exp = log_sum_exp});
  if (!ring) {
    call.writes[0] = std::move(out), call.writes[1] = std::move(sums);
    return;
  }
  gpu::widen(out->data(), state_in(sums, heads).out, out->size(), compute());
  for (std::int64_t hop = 1; hop < std::ssize(seen_); ++hop) fold_block(call, hop, sums, false);
  call.writes[0] = std::move(sums);
}

// Attention to the keys of a hop, folded into what came before; of the last hop, the context.
void DeviceOperations::fold_block(DeviceCall& call, std::int64_t hop, const DeviceHandle& partial,
                                  bool last) {
  const DeviceHandle &rows = call.reads[0], &blocks = call.reads[1];
  const HeadShape& heads = call.io.heads;
  const std::int64_t width = query_width(heads);
  const Seen& part = seen_[static_cast<std::size_t>(hop - 1)];
  gpu_.lanes.await(blocks->hops[static_cast<std::size_t>(hop - 1)]);
  Block out = gpu_.memory.take(rows_ * width * 2),
        sums = gpu_.memory.take(sequences_count_ * heads.heads * part.count * 4);
  if (part.count > 0) {
    gpu::AttentionCall kernel = attention_of(call, *rows);
    kernel.causal = false, kernel.length = part.count, kernel.kv_length = part.keys;
    kernel.kv_stride = blocks->width, kernel.sequence = length_;
    void* keys = block_of(*blocks, hop, rows_);
    gpu_.attention(kernel).run({.q = rows->at(part.first * rows->width),
                                .k = keys,
                                .v = moved(keys, key_width(heads)),
                                .out = moved(out.data(), part.first * width),
                                .log_sum_exp = sums.data()});
  }
  const gpu::FoldSize size{sequences_count_, length_, heads.heads, heads.head_dim, part.first, part.count};
  const gpu::FoldBlock block{out.data(), sums.floats()};
  const gpu::FoldState state = state_in(partial, heads);
  if (!last) return gpu::fold_attention(size, block, state, compute());
  call.writes[0] = tensor(rows_, width);
  call.writes[1] = tensor(rows_, heads.heads, gpu::Number::fp32);
  gpu::finish_attention(size, block, state, call.writes[0]->data(), call.writes[1]->block.floats(),
                        compute());
}

// Reads the gradient, rows, context and statistics, then the ring's blocks, then the partial gradients
// of this rank's rows and of the blocks.
void DeviceOperations::attention_backward(DeviceCall& call) {
  const DeviceHandle& rows = call.reads[1];
  const HeadShape& heads = call.io.heads;
  const auto hops = static_cast<std::int64_t>(seen_.size());
  const bool ring = call.reads.size() > 4, first = call.reads.size() < 7;
  if (!first) {
    call.writes[0] = call.reads[5], call.writes[1] = call.reads[6];
    return block_backward(call, hops, call.writes[0], call.writes[1]);
  }
  const std::int64_t keys = query_width(heads), values = keys + key_width(heads);
  char* packed = static_cast<char*>(read(rows));
  DeviceHandle made = tensor(rows->rows, rows->width);
  char* gradient = static_cast<char*>(made->data());
  gpu_.attention(attention_of(call, *rows))
      .run({packed, moved(packed, keys), moved(packed, values), read(call.reads[2]), read(call.reads[3]),
            read(call.reads[0]), gradient, moved(gradient, keys), moved(gradient, values)});
  if (!ring) {
    call.writes[0] = std::move(made);
    return;
  }
  DeviceHandle own = tensor(rows->rows, rows->width, gpu::Number::fp32);
  gpu::widen(made->data(), own->block.floats(), made->size(), compute());
  made.reset();
  DeviceHandle foreign = tensor(2 * hops * rows->rows, call.reads[4]->width);
  for (std::int64_t hop = 1; hop < hops; ++hop) {
    block_backward(call, hop, own, foreign);
    foreign->hops.push_back(return_block(foreign, hop));
  }
  call.writes[0] = std::move(own), call.writes[1] = std::move(foreign);
}

// Gradients of the queries are added to this rank's, those of the block's keys and values go to `foreign`,
// in bf16 as they are made. The statistics are those of all keys, so a block's share needs no other.
void DeviceOperations::block_backward(DeviceCall& call, std::int64_t hop, const DeviceHandle& own,
                                      const DeviceHandle& foreign) {
  const DeviceHandle &rows = call.reads[1], &blocks = call.reads[4];
  const HeadShape& heads = call.io.heads;
  const std::int64_t width = query_width(heads);
  const Seen& part = seen_[static_cast<std::size_t>(hop - 1)];
  void* home = block_of(*foreign, hop, rows_);
  gpu_.lanes.await(blocks->hops[static_cast<std::size_t>(hop - 1)]);
  if (part.keys < length_) gpu::clear(home, rows_ * foreign->width * 2, compute());
  if (part.count == 0) return;
  const Block dq = gpu_.memory.take(rows_ * rows->width * 2),
              sums = gpu_.memory.take(sequences_count_ * heads.heads * part.count * 4);
  const auto* statistics = static_cast<const float*>(read(call.reads[3]));
  gpu::copy_rows({sequences_count_ * heads.heads, part.count * 4, length_ * 4, part.count * 4},
                 statistics + part.first, sums.data(), compute());
  gpu::AttentionCall kernel = attention_of(call, *rows);
  kernel.causal = false, kernel.length = part.count, kernel.kv_length = part.keys;
  kernel.kv_stride = blocks->width, kernel.sequence = length_;
  void* keys = block_of(*blocks, hop, rows_);
  const std::int64_t begin = part.first * rows->width;
  gpu_.attention(kernel).run({moved(read(rows), begin), keys, moved(keys, key_width(heads)),
                              moved(read(call.reads[2]), part.first * width), sums.data(),
                              moved(read(call.reads[0]), part.first * width), moved(dq.data(), begin), home,
                              moved(home, key_width(heads))});
  gpu::add_rows({sequences_count_, length_, part.count, width, rows->width, rows->width},
                moved(dq.data(), begin), own->block.floats() + begin, compute());
}

// Of each hop: the block that then comes. All ranks cut all their sequences alike.
void DeviceOperations::find_seen() {
  const auto n = ring_.size(), index = view_.index_in(ring_);
  const auto one_sequence = [&](Rank rank) {
    std::vector<std::int32_t> positions = view_.tags_of(rank).positions;
    positions.resize(static_cast<std::size_t>(length_));
    return positions;
  };
  const std::vector<std::int32_t> own = one_sequence(ring_[index]);
  for (std::size_t hop = 1; hop < n; ++hop)
    seen_.push_back(seen(own, one_sequence(ring_[(index + n - hop) % n])));
}

// Keys and values go from each rank to the next one until all have seen all.
void DeviceOperations::ring(DeviceCall& call) {
  ring_ = view_.group(call.io.group);
  if (seen_.empty()) find_seen();
  const std::size_t n = ring_.size(), index = view_.index_in(ring_);
  const DeviceHandle& rows = call.reads[0];
  const std::int64_t width = 2 * key_width(call.io.heads);
  read(rows);
  DeviceHandle blocks = tensor(static_cast<std::int64_t>(n - 1) * rows_, width);
  Block own = gpu_.memory.take(rows_ * width * 2);
  std::vector<std::int64_t> out(n, 0), in(n, 0);
  out[(index + 1) % n] = in[(index + n - 1) % n] = own.bytes();
  gpu::copy_rows({rows_, width * 2, rows->width * 2, width * 2}, rows->at(query_width(call.io.heads)),
                 own.data(), compute());
  const void* passed = own.data();
  for (std::int64_t hop = 1; hop < static_cast<std::int64_t>(n); ++hop) {
    void* to = block_of(*blocks, hop, rows_);
    blocks->hops.push_back(on_network({&own, &blocks->block}, [&](gpu::Stream stream) {
      peers(ring_).all_to_all({{{passed, out, to, in}}}, stream);
    }));
    if (hop == 1) gpu_.lanes.follow(Lanes::kNetwork);  // before attention takes the whole GPU
    passed = to;
  }
  call.writes[0] = std::move(blocks);
}

// The gradients of a hop's block go to the rank that it came from, and those of this rank's own block come
// from the rank that had it in that hop: behind the first half of `foreign`.
Ticket DeviceOperations::return_block(const DeviceHandle& foreign, std::int64_t hop) {
  const std::size_t n = ring_.size(), index = view_.index_in(ring_), back = static_cast<std::size_t>(hop);
  std::vector<std::int64_t> out(n, 0), in(n, 0);
  out[(index + n - back) % n] = in[(index + back) % n] = rows_ * foreign->width * 2;
  return on_network({&foreign->block}, [&](gpu::Stream stream) {
    const std::int64_t home = hop + static_cast<std::int64_t>(n) - 1;
    peers(ring_).all_to_all({{{block_of(*foreign, hop, rows_), out, block_of(*foreign, home, rows_), in}}},
                            stream);
  });
}

void DeviceOperations::ring_return(DeviceCall& call) {
  const DeviceHandle &own = call.reads[0], &foreign = call.reads[1];
  const std::int64_t hops = std::ssize(seen_), keys = query_width(call.io.heads);
  foreign->hops.push_back(return_block(foreign, hops));
  call.writes[0] = tensor(own->rows, own->width);
  for (std::int64_t hop = 1; hop <= hops; ++hop) {
    gpu_.lanes.await(foreign->hops[static_cast<std::size_t>(hop - 1)]);
    gpu::add_rows({1, rows_, rows_, foreign->width, foreign->width, own->width},
                  block_of(*foreign, hops + hop, rows_), own->block.floats() + keys, compute());
  }
  gpu::narrow(own->block.floats(), call.writes[0]->data(), own->size(), compute());
}

}  // namespace tw::train
