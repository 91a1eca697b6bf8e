// What a job trains and on what data, beyond the shape of its batch: adapters on frozen weights, packed
// documents, samples that several ranks read alike. Neutral by default: all weights, whole sequences.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include "topology/described.hpp"

namespace tw {

// How a matrix product is done: tf32 reads fp32 on the tensor cores, fp32 runs on the vector units.
enum class Math : std::uint8_t { bf16, tf32, fp32 };
constexpr auto enum_names(const Math*) {
  return std::array<std::pair<Math, std::string_view>, 3>{
      {{Math::bf16, "bf16"}, {Math::tf32, "tf32"}, {Math::fp32, "fp32"}}};
}
constexpr std::int64_t size_of(Math math) {
  return math == Math::bf16 ? 2 : 4;
}

// LoRA (Hu et al. 2021, arXiv 2106.09685, section 4.1): beside each frozen linear of a layer, A of
// [in, rank] and B of [rank, out]. Router, LM head, norms and embeddings stay frozen without one.
struct Adapters {
  std::int32_t rank = 0;                   // 0: everything is trained
  Defaulted<std::int32_t> expert_rank{0};  // of each routed expert; 0: experts are frozen without one
  Defaulted<Math> math{Math::bf16};        // of A and B, which are kept in its format
};
TW_DESCRIBE(Adapters, rank, expert_rank, math);

struct Training {
  Defaulted<Adapters> lora;
  // Tokens of one packed document; attention stays inside. 0: a sequence is one document.
  Defaulted<double> document{0};
  Defaulted<double> valid{1};          // share of tokens that are not padding
  Defaulted<std::int32_t> repeats{1};  // ranks of dp that read the same samples
};
TW_DESCRIBE(Training, lora, document, valid, repeats);

inline bool adapts(const Training& training) {
  return training.lora->rank > 0;
}

}  // namespace tw
