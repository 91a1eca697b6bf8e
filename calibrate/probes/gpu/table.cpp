#include <algorithm>
#include <sstream>

#include "calibrate/probes/gpu/probe.hpp"

namespace tw::gpu {

// In the order of measuring: short and certain first.
std::span<const Probe* const> all_probes() {
  static const Probe* const table[] = {&kLaunches,        &kCopies, &kExchanges,  &kBeside,
                                       &kHandover,        &kGemm,   &kAttention,  &kElementwise,
                                       &kGroupedProducts, &kLayer,  &kGroupedGemm};
  return table;
}

const Probe* probe_of(const std::string& op) {
  for (const Probe* probe : all_probes()) {
    if (std::find(probe->ops.begin(), probe->ops.end(), op) != probe->ops.end()) return probe;
  }
  return nullptr;
}

std::optional<Case> parse_case(const std::string& line) {
  std::istringstream words(line);
  Case one;
  words >> one.op;
  for (std::int64_t size = 0; words >> size;) one.shape.push_back(size);
  if (!words.eof() || probe_of(one.op) == nullptr) return std::nullopt;
  return one;
}

}  // namespace tw::gpu
