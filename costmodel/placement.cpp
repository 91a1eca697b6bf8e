#include "costmodel/placement.hpp"

namespace tw {

std::optional<Conversion> conversion(Placement have, Placement need) {
  using Kind = Placement::Kind;
  if (have == need) return Conversion::none;
  if (need.kind == Kind::partial) return std::nullopt;
  const bool to_whole = need.kind == Kind::whole;
  switch (have.kind) {
    case Kind::whole:
      return Conversion::slice;
    case Kind::partial:
      return to_whole ? Conversion::all_reduce : Conversion::reduce_scatter;
    case Kind::cut:
      return to_whole ? Conversion::all_gather : Conversion::all_to_all;
  }
  return std::nullopt;
}

}  // namespace tw
