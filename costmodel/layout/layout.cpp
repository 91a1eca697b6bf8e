#include "costmodel/layout/layout.hpp"

#include "topology/check.hpp"

namespace tw {

namespace {

// Chunk sizes when `ends` layers (the head, then the embedding) are counted beside the model's own.
std::int32_t chunk_with_ends(std::int32_t layers, std::int32_t chunks, std::int32_t index,
                             std::int32_t ends) {
  const std::int32_t each = (layers + ends) / chunks;
  const bool holds_head = ends >= 1 && index == chunks - 1;
  const bool holds_embedding = ends == 2 && index == 0;
  return each - (holds_head ? 1 : 0) - (holds_embedding ? 1 : 0);
}

}  // namespace

std::int32_t default_chunk(std::int32_t layers, std::int32_t chunks, std::int32_t index) {
  TW_CHECK(1 <= chunks && chunks <= layers && 0 <= index && index < chunks);
  for (const std::int32_t ends : {0, 2, 1}) {
    if ((layers + ends) % chunks == 0) return chunk_with_ends(layers, chunks, index, ends);
  }
  const std::int32_t smaller = chunks - layers % chunks;  // chunks that hold one layer less
  const bool at_end = index < smaller / 2 || index >= chunks - (smaller + 1) / 2;
  return layers / chunks + (at_end ? 0 : 1);
}

std::vector<std::int32_t> default_split(std::int32_t layers, std::int32_t chunks) {
  std::vector<std::int32_t> split;
  split.reserve(static_cast<std::size_t>(chunks));
  for (std::int32_t i = 0; i < chunks; ++i) split.push_back(default_chunk(layers, chunks, i));
  return split;
}

std::int64_t microbatches(const Layout& layout, const Job& job) {
  return job.global_batch / (std::int64_t{layout.dp} * layout.mb);
}

}  // namespace tw
