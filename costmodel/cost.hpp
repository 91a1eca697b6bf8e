// The search value: what one step of one layout costs, as plain data without strings or heap.
#pragma once

#include <array>
#include <cstdint>

#include "costmodel/program/op.hpp"

namespace tw {

// Seconds by term (the part that the step waits for) and error by curve (seconds of one standard
// deviation): terms of one curve are wrong together and add, different curves add in squares.
struct TermSeconds {
  std::array<float, kTerms> exposed{};
  std::array<float, kCurves> error{};

  void add(Term term, CurveId curve, double seconds, double spread) {
    exposed[static_cast<std::size_t>(term)] += static_cast<float>(seconds);
    error[static_cast<std::size_t>(curve)] += static_cast<float>(seconds * spread);
  }
  void add(const TermSeconds& other, double times = 1) {
    const auto factor = static_cast<float>(times);
    for (std::size_t i = 0; i < kTerms; ++i) exposed[i] += factor * other.exposed[i];
    for (std::size_t i = 0; i < kCurves; ++i) error[i] += factor * other.error[i];
  }
  float& operator[](Term term) { return exposed[static_cast<std::size_t>(term)]; }
  float operator[](Term term) const { return exposed[static_cast<std::size_t>(term)]; }
};

enum class MemoryPart : std::uint8_t {
  parameters,
  gradients,
  optimizer,
  activations,
  logits,
  temporary,
  communicators,
  context,
  slack
};
inline constexpr int kMemoryParts = 9;
std::string_view name_of(MemoryPart part);

struct MemoryUse {
  std::array<std::int64_t, kMemoryParts> bytes{};
  std::int64_t& operator[](MemoryPart part) { return bytes[static_cast<std::size_t>(part)]; }
  std::int64_t operator[](MemoryPart part) const { return bytes[static_cast<std::size_t>(part)]; }
  std::int64_t total() const {
    std::int64_t sum = 0;
    for (const std::int64_t part : bytes) sum += part;
    return sum;
  }
};

struct Cost {
  double step_seconds = 0;
  double spread_seconds = 0;  // one standard deviation
  TermSeconds terms;          // of the bottleneck stage; they sum to the step
  MemoryUse memory;           // of the worst stage, at its peak
  std::int32_t worst_stage = 0, bottleneck_stage = 0;
  bool fits = false;
};

}  // namespace tw
