// The rules a layout must obey, one table of {name, link, broken, why}: legality.cpp says why each
// rule exists. illegal_because, is_legal and the enumerator all read this table.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "costmodel/layout/layout.hpp"

namespace tw {

// The link of the cost chain whose keys a rule reads, outermost first. A rule may read the keys of
// its own link and of those before it.
enum class Link : std::uint8_t {
  pass,   // mb, tp, sp, cp, cp_kind, ep, etp, dispatch, recompute modules, precision
  state,  // + dp, zero, hsdp, offload
  chunk,  // + pp, vpp, split
  pipe    // + schedule, order, full recomputation by layers
};

inline constexpr int kRules = 40;
std::string_view rule_name(int rule);

// The first broken rule in the order of the table, or -1.
int first_broken_rule(const Layout& layout, const Job& job);
// Of one link only; the rules of earlier links are taken as obeyed.
int first_broken_rule(const Layout& layout, const Job& job, Link link);
// No strings, no heap: for inner loops.
bool is_legal(const Layout& layout, const Job& job);

}  // namespace tw
