// Where a tensor lies across the ranks of one dimension, and the one table that says which
// collective turns the placement it has into the placement its reader needs. The same table,
// applied to gradients, gives the backward (Megatron's f and g, Korthikanti et al. 2022,
// arXiv 2205.05198, section 4.2.2, fall out of it).
#pragma once

#include <cstdint>
#include <optional>

namespace tw {

enum class AxisName : std::uint8_t { batch, seq, hidden, heads, ffn, expert, vocab, latent };

struct Placement {
  enum class Kind : std::uint8_t { whole, cut, partial } kind = Kind::whole;
  AxisName axis = AxisName::seq;  // of a cut
  friend bool operator==(Placement a, Placement b) {
    return a.kind == b.kind && (a.kind != Kind::cut || a.axis == b.axis);
  }
};
inline constexpr Placement kWhole{};
inline constexpr Placement kPartial{Placement::Kind::partial, AxisName::seq};
constexpr Placement cut(AxisName axis) {
  return {Placement::Kind::cut, axis};
}

enum class Conversion : std::uint8_t { none, slice, all_gather, all_reduce, reduce_scatter, all_to_all };

// nullopt: no such conversion (nothing turns into a partial sum).
std::optional<Conversion> conversion(Placement have, Placement need);
// The placement the gradient of a tensor must have: a partial sum hands each rank the whole gradient.
constexpr Placement gradient_of(Placement tensor) {
  return tensor.kind == Placement::Kind::partial ? kWhole : tensor;
}

}  // namespace tw
