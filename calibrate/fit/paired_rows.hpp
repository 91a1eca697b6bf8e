// Rows of an exchange and of a product that a probe timed together and apart: OP.KIND is the exchange's time,
// gemm.KIND.OP the product's, of one shape.
#pragma once

#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "calibrate/fit/fit.hpp"

namespace tw {

template <class Case>
using PairedCases = std::map<std::pair<std::string, std::vector<std::int64_t>>, Case>;  // by OP and shape

// Where a KIND's times stand in a case; gemm: nullptr where only the exchange has one.
template <class Case>
struct PairedKind {
  std::string_view name;
  double Case::*exchange;
  double Case::*gemm;
};

// Times of the rows of these kinds; other rows are passed over.
template <class Case>
PairedCases<Case> paired(const std::vector<KernelRow>& rows, std::span<const PairedKind<Case>> kinds) {
  PairedCases<Case> cases;
  for (const KernelRow& row : rows) {
    for (const PairedKind<Case>& kind : kinds) {
      const std::string after = "." + std::string(kind.name), before = "gemm" + after + ".";
      if (kind.gemm != nullptr && row.op.starts_with(before))
        cases[{row.op.substr(before.size()), row.shape}].*kind.gemm = row.time.value;
      else if (row.op.ends_with(after))
        cases[{row.op.substr(0, row.op.size() - after.size()), row.shape}].*kind.exchange = row.time.value;
    }
  }
  return cases;
}

}  // namespace tw
