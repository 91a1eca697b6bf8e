// Interference by the size of the collective: rows OP.beside, gemm.beside.OP and the same two .not_beside, of
// several collectives and lengths of GEMM. One number each: the geometric mean of what the collective takes,
// and what compute loses for each second of it alone (arithmetic mean), over that.
#include <cmath>
#include <map>

#include "calibrate/fit/paired_rows.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

struct Case {
  double exchange = 0, exchange_alone = 0, gemm = 0, gemm_alone = 0;
  bool whole() const { return exchange > 0 && exchange_alone > 0 && gemm > 0 && gemm_alone > 0; }
  double stretch() const { return std::max(1.0, exchange / exchange_alone); }
  // derived: in the time of one exchange compute does gemm_alone / gemm of what it would do alone.
  double lost() const { return std::max(0.0, exchange * (1 - gemm_alone / gemm) / exchange_alone); }
};

constexpr PairedKind<Case> kKinds[] = {{"beside", &Case::exchange, &Case::gemm},
                                       {"not_beside", &Case::exchange_alone, &Case::gemm_alone}};

}  // namespace

void fit_beside(CalibrationFile& file, const std::vector<KernelRow>& rows) {
  const PairedCases<Case> cases = paired<Case>(rows, kKinds);
  std::map<std::int64_t, std::vector<Case>> by_bytes;
  for (const auto& [at, one] : cases) {
    if (!one.whole()) throw InputError(at.first + ".beside", "rows", "lacks one of its four times");
    by_bytes[at.second.front()].push_back(one);
  }
  if (by_bytes.empty()) return;
  std::vector<Interference> found;
  for (const auto& [bytes, all] : by_bytes) {
    double logarithms = 0, lost = 0;
    for (const Case& one : all) logarithms += std::log(one.stretch()), lost += one.lost();
    const auto count = static_cast<double>(all.size());
    const double network = rounded(std::exp(logarithms / count));
    found.push_back({Bytes(bytes), network, std::min(1.0, rounded(lost / count / network))});
  }
  file.host.beside = found;
}

}  // namespace tw
