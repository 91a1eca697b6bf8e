// What an exchange costs where it stands between kernels of compute: rows of the probe handover.
#include <algorithm>

#include "calibrate/fit/paired_rows.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

struct Case {
  double open = 0, not_open = 0, gemm_not_open = 0;             // one after the other, and each alone
  double led = 0, not_led = 0, gemm_led = 0, gemm_not_led = 0;  // begun together, and each alone
};
constexpr PairedKind<Case> kKinds[] = {{"open", &Case::open, nullptr},
                                       {"not_open", &Case::not_open, &Case::gemm_not_open},
                                       {"led", &Case::led, &Case::gemm_led},
                                       {"not_led", &Case::not_led, &Case::gemm_not_led}};

}  // namespace

void fit_handover(CalibrationFile& file, const std::vector<KernelRow>& rows) {
  constexpr double kAsLong = 0.2;  // of the product: a shorter exchange may be hidden whole
  const PairedCases<Case> cases = paired<Case>(rows, kKinds);
  if (cases.empty()) return;
  std::vector<double> handovers, yields;
  for (const auto& [at, one] : cases) {
    for (const double time :
         {one.open, one.not_open, one.gemm_not_open, one.led, one.not_led, one.gemm_led, one.gemm_not_led}) {
      if (time <= 0) throw InputError(at.first + ".open", "rows", "lacks one of its seven times");
    }
    handovers.push_back(one.open - one.not_open - one.gemm_not_open);
    const double gained = one.not_led + one.gemm_not_led - std::max(one.led, one.gemm_led);
    if (one.not_led >= kAsLong * one.gemm_not_led) yields.push_back(gained / one.gemm_not_led);
  }
  file.host.handover = Seconds(rounded(std::max(0.0, median(handovers))));
  file.host.gemm_yields = yields.empty() ? 1.0 : std::clamp(rounded(median(yields)), 0.0, 1.0);
}

}  // namespace tw
