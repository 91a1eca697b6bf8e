#include "costmodel/program/operands.hpp"

#include <fmt/format.h>
#include <algorithm>

#include <cmath>

namespace tw {
namespace {

std::string list_of(const char* word, std::span<const std::int16_t> ids, const LayerOperands& layer) {
  std::string out;
  for (const std::int16_t id : ids) {
    const std::string_view name =
        id < 0 ? std::string_view("none") : layer.values[static_cast<std::size_t>(id)].name;
    out += fmt::format("{}{}{}", out.empty() ? std::string(word) + " " : ", ", name,
                       id < 0 ? "" : fmt::format("#{}", id));
  }
  return out;
}

}  // namespace

std::string_view name_of(Operator what) {
  constexpr std::string_view kNames[] = {
      "norm",        "head_norm",    "rotate",    "linear",  "activation",   "attention",    "ring",
      "ring_return", "add",          "sum",       "convert", "spread_heads", "gather_heads", "embed",
      "score",       "merge_scores", "choose",    "balance", "permute",      "dispatch",     "sort",
      "unsort",      "combine",      "unpermute", "wait"};
  return kNames[static_cast<std::size_t>(what)];
}

std::int64_t Value::bytes() const {
  const double there = at_once == 0 ? rows : gradient ? std::min(rows, at_once) : 0;
  return std::llround(there * static_cast<double>(width * element_bytes));
}

std::string to_string(const Operands& operands, const LayerOperands& layer) {
  return fmt::format("{} {} {}", name_of(operands.what),
                     list_of("reads", {operands.reads.begin(), operands.reads.size()}, layer),
                     list_of("writes", {operands.writes.begin(), operands.writes.size()}, layer));
}

}  // namespace tw
