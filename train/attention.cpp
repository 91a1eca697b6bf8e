// Attention on packed rows [q | k | v], whole sequences or blocks that come around a ring, and the
// exchange of tokens for heads.
#include <algorithm>

#include "topology/check.hpp"
#include "train/operations.hpp"

namespace tw::train {
namespace {

constexpr std::int32_t kRingTag = 1 << 20;  // above those of values between stages

template <class T>
cpu::AttentionState<cpu::Acc<T>> state_in(std::vector<cpu::Acc<T>>& sums, const cpu::HeadShape& shape,
                                          std::int64_t rows) {
  const std::int64_t count = rows * shape.heads;
  return {sums.data(), sums.data() + count, sums.data() + 2 * count};
}

cpu::TokenRows tokens_of(const View::Tags& tags) {
  return {static_cast<std::int64_t>(tags.positions.size()), tags.positions.data(), tags.sequences.data()};
}

}  // namespace

template <class T>
void Operations<T>::attention(Call& call) {
  return call.backward() ? attention_backward(call) : attention_forward(call);
}

// First: this rank's own keys and all that came before the last hop. Last: the last hop's.
template <class T>
std::vector<typename Operations<T>::Block> Operations<T>::blocks_for(const Call& call, const Tensor<T>& rows,
                                                                     const Tensor<T>* ring, bool first,
                                                                     bool last) const {
  const HeadShape& heads = call.io.heads;
  const std::int64_t keys = heads.heads * heads.head_dim, width = heads.kv_heads * heads.head_dim;
  const bool own = rows.rows == static_cast<std::int64_t>(own_tags_.positions.size());
  std::vector<Block> out;
  if (first) out.push_back({own ? &own_tags_ : &spread_tags_, rows.view(keys), rows.view(keys + width), 0});
  if (ring == nullptr) return out;
  const auto hops = static_cast<std::int64_t>(ring_tags_.size());
  for (std::int64_t hop = 1; hop <= hops; ++hop) {
    if (hop == hops ? !last : !first) continue;
    const T* data = ring->data.data() + (hop - 1) * rows.rows * ring->width;
    out.push_back({&ring_tags_[static_cast<std::size_t>(hop - 1)],
                   {data, ring->width},
                   {data + width, ring->width},
                   hop});
  }
  return out;
}

template <class T>
cpu::AttentionBlock<T> Operations<T>::with(const Call& call, const Tensor<T>& rows,
                                           const Block& block) const {
  const HeadShape& heads = call.io.heads;
  const bool own = rows.rows == static_cast<std::int64_t>(own_tags_.positions.size());
  return {{heads.heads, heads.kv_heads, heads.head_dim},
          tokens_of(own ? own_tags_ : spread_tags_),
          tokens_of(*block.tags),
          rows.view(),
          block.keys,
          block.values};
}

// Reads rows, the ring's blocks and the partial state, as far as there are any.
template <class T>
void Operations<T>::attention_forward(Call& call) {
  const Tensor<T>& rows = *call.reads[0];
  const Tensor<T>* ring = call.reads.size() > 1 ? call.reads[1].get() : nullptr;
  const bool first = call.reads.size() < 3, last = call.reads.size() != 2;
  const HeadShape& heads = call.io.heads;
  const cpu::HeadShape shape{heads.heads, heads.kv_heads, heads.head_dim};
  Handle<T> partial = first ? sums<T>(rows.rows, heads.heads * (heads.head_dim + 2))
                            : std::make_shared<Tensor<T>>(*call.reads[2]);
  const cpu::AttentionState<Sum> state = state_in<T>(partial->sums, shape, rows.rows);
  if (first) cpu::Attention<T>::start(shape, rows.rows, state);
  for (const Block& block : blocks_for(call, rows, ring, first, last))
    cpu::Attention<T>::block(with(call, rows, block), state);
  if (!last) {
    call.writes[0] = partial;
    return;
  }
  call.writes[0] = elements<T>(rows.rows, heads.heads * heads.head_dim);
  call.writes[1] = sums<T>(rows.rows, heads.heads);
  cpu::Attention<T>::finish(shape, rows.rows, state, call.writes[0]->view(), call.writes[1]->sums.data());
}

// Reads the gradient, rows, context and statistics, then the ring's blocks, then the partial gradients
// of this rank's rows and of the blocks.
template <class T>
void Operations<T>::attention_backward(Call& call) {
  const Tensor<T>&gradient = *call.reads[0], &rows = *call.reads[1], &context = *call.reads[2];
  const Tensor<T>* ring = call.reads.size() > 4 ? call.reads[4].get() : nullptr;
  const bool first = call.reads.size() < 7, last = call.reads.size() != 5;
  const HeadShape& heads = call.io.heads;
  const cpu::HeadShape shape{heads.heads, heads.kv_heads, heads.head_dim};
  Handle<T> own = first ? sums<T>(rows.rows, rows.width) : std::make_shared<Tensor<T>>(*call.reads[5]);
  Handle<T> foreign;
  if (ring) foreign = first ? sums<T>(ring->rows, ring->width) : std::make_shared<Tensor<T>>(*call.reads[6]);
  std::vector<Sum> dots(static_cast<std::size_t>(rows.rows * heads.heads));
  cpu::Attention<T>::row_dots(shape, rows.rows, context.view(), gradient.view(), dots.data());
  const std::int64_t keys = heads.heads * heads.head_dim, width = heads.kv_heads * heads.head_dim;
  for (const Block& block : blocks_for(call, rows, ring, first, last)) {
    Sum* q = own->sums.data();
    Sum* k = block.hop == 0 ? q + keys : foreign->sums.data() + (block.hop - 1) * rows.rows * ring->width;
    const std::int64_t stride = block.hop == 0 ? rows.width : ring->width;
    cpu::Attention<T>::backward(with(call, rows, block),
                                {gradient.view(), call.reads[3]->sums.data(), dots.data()},
                                {{q, rows.width}, {k, stride}, {k + width, stride}});
  }
  if (ring) {
    call.writes[0] = own, call.writes[1] = foreign;
    return;
  }
  call.writes[0] = elements<T>(rows.rows, rows.width);
  std::transform(own->sums.begin(), own->sums.end(), call.writes[0]->data.begin(),
                 [](Sum v) { return static_cast<T>(v); });
}

// Keys and values go from each rank to the next one until all have seen all.
template <class T>
void Operations<T>::ring(Call& call) {
  const Group group = view_.group(call.io.group);
  const std::size_t n = group.size(), index = view_.index_in(group);
  const Tensor<T>& rows = *call.reads[0];
  const HeadShape& heads = call.io.heads;
  const std::int64_t keys = heads.heads * heads.head_dim, width = 2 * heads.kv_heads * heads.head_dim;
  call.writes[0] = elements<T>(rows.rows * static_cast<std::int64_t>(n - 1), width);
  std::vector<T> block(static_cast<std::size_t>(rows.rows * width));
  cpu::copy_rows<T, T>({rows.rows, width}, rows.view(keys), {block.data(), width});
  const auto bytes = static_cast<std::int64_t>(block.size() * sizeof(T));
  const T* passed = block.data();
  ring_tags_.clear();
  for (std::size_t hop = 1; hop < n; ++hop) {
    T* to = call.writes[0]->data.data() + (hop - 1) * block.size();
    messages_.send(group[(index + 1) % n], kRingTag, passed, bytes);
    messages_.receive(group[(index + n - 1) % n], kRingTag, to, bytes);
    passed = to;
    ring_tags_.push_back(view_.tags_of(group[(index + n - hop) % n]));
  }
}

template <class T>
void Operations<T>::ring_return(Call& call) {
  const Group group = view_.group(call.io.group);
  const std::size_t n = group.size(), index = view_.index_in(group);
  Tensor<T> own = *call.reads[0];
  const Tensor<T>& foreign = *call.reads[1];
  const std::int64_t keys = call.io.heads.heads * call.io.heads.head_dim;
  const std::size_t count = foreign.sums.size() / (n - 1);
  const auto bytes = static_cast<std::int64_t>(count * sizeof(Sum));
  std::vector<Sum> home(count);
  for (std::size_t hop = 1; hop < n; ++hop) {
    messages_.send(group[(index + n - hop) % n], kRingTag, foreign.sums.data() + (hop - 1) * count, bytes);
    messages_.receive(group[(index + hop) % n], kRingTag, home.data(), bytes);
    for (std::int64_t row = 0; row < own.rows; ++row)
      cpu::accumulate(foreign.width, home.data() + row * foreign.width,
                      own.sums.data() + row * own.width + keys);
  }
  call.writes[0] = elements<T>(own.rows, own.width);
  std::transform(own.sums.begin(), own.sums.end(), call.writes[0]->data.begin(),
                 [](Sum v) { return static_cast<T>(v); });
}

// All heads of this rank's tokens <-> this rank's heads of all tokens, ranks' tokens one after the other.
template <class T>
void Operations<T>::spread_heads(Call& call, bool to_heads) {
  const Group group = view_.group(call.io.group);
  const auto n = static_cast<std::int64_t>(group.size());
  const HeadShape& heads = call.io.heads;
  const Tensor<T>& x = *call.reads[0];
  const bool packed = call.io.what == Operator::spread_heads;
  const std::int64_t rows = to_heads ? x.rows : x.rows / n;
  std::vector<std::int64_t> sections = {heads.heads * heads.head_dim};
  if (packed) sections.insert(sections.end(), 2, heads.kv_heads * heads.head_dim);
  const std::int64_t width = to_heads ? x.width : x.width * n, part = width / n;
  call.writes[0] = to_heads ? elements<T>(rows * n, part) : elements<T>(rows, width);
  Tensor<T>& y = *call.writes[0];
  std::vector<T> cut(static_cast<std::size_t>(rows * width));  // by rank, then row, then section
  const auto each_section = [&](auto&& move) {
    for (std::int64_t rank = 0; rank < n; ++rank) {
      std::int64_t column = 0, at = rank * rows * part;
      for (const std::int64_t section : sections) {
        const std::int64_t piece = section / n;
        move(piece, column + rank * piece, cut.data() + at);
        column += section, at += piece;
      }
    }
  };
  const std::vector<std::int64_t> bytes(group.size(), rows * part * static_cast<std::int64_t>(sizeof(T)));
  if (to_heads) {
    each_section([&](std::int64_t piece, std::int64_t column, T* to) {
      cpu::copy_rows<T, T>({rows, piece}, x.view(column), {to, part});
    });
    messages_.all_to_all_v(group, cut.data(), bytes, y.data.data(), bytes);
    if (packed && !call.backward()) {
      spread_tags_ = {};
      for (const Rank rank : group) {
        const View::Tags tags = view_.tags_of(rank);
        auto& [positions, sequences] = spread_tags_;
        positions.insert(positions.end(), tags.positions.begin(), tags.positions.end());
        sequences.insert(sequences.end(), tags.sequences.begin(), tags.sequences.end());
      }
    }
    return;
  }
  messages_.all_to_all_v(group, x.data.data(), bytes, cut.data(), bytes);
  each_section([&](std::int64_t piece, std::int64_t column, const T* from) {
    cpu::copy_rows<T, T>({rows, piece}, {from, part}, y.view(column));
  });
}

template class Operations<double>;
template class Operations<float>;
template class Operations<bf16>;

}  // namespace tw::train
