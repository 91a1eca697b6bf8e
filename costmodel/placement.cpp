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

std::string_view name_of(Conversion conversion) {
  switch (conversion) {
    case Conversion::none:
      return "none";
    case Conversion::slice:
      return "slice";
    case Conversion::all_gather:
      return "all_gather";
    case Conversion::all_reduce:
      return "all_reduce";
    case Conversion::reduce_scatter:
      return "reduce_scatter";
    case Conversion::all_to_all:
      return "all_to_all";
  }
  return "";
}

}  // namespace tw
