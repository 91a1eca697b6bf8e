// The words that sources use for ZeRO stages, precisions, recomputation, schedules and dtypes, read
// as ours: one table per kind in words.cpp.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "costmodel/layout/layout.hpp"
#include "topology/dtype.hpp"

namespace tw::validate {

std::string lower(std::string_view text);
std::string letters_and_digits(std::string_view text);          // lower case, nothing else
bool mentions(std::string_view text, std::string_view needle);  // needle in lower case

struct ZeroWords {
  std::int32_t zero = 0;
  std::optional<std::int32_t> shard;  // "shard group 64"
};
std::optional<ZeroWords> read_zero_words(std::string_view text);

// `blackwell`: a finer quantization granularity means MXFP8 there, blocks elsewhere.
Precision read_precision_words(std::string_view text, std::int32_t year, bool blackwell);
inline bool is_low(Precision precision) {
  return precision != Precision::bf16;
}

struct RecomputeWords {
  Recompute recompute;
  double layer_share = 0;  // torchtitan's selective modes: this share of layers recomputed in full
  std::string note;        // what had to be read as something near
};
// `by_operator`: the framework's `selective` is torchtitan's, which saves every other matrix product.
std::optional<RecomputeWords> read_recompute_words(std::string_view text, bool moe, bool by_operator);

std::optional<std::uint8_t> read_schedule_words(std::string_view text);
std::optional<DType> read_dtype_words(std::string_view text);

}  // namespace tw::validate
