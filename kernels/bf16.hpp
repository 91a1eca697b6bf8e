// bf16, a storage type: the upper half of a float (8 bits of exponent, 8 of significand with the hidden
// one). Arithmetic is done in float; a store rounds to nearest, ties to even, so it errs by at most
// 2^-8 of the value. Infinities stay, a NaN stays a (quiet) NaN, subnormals are kept.
#pragma once

#include <bit>
#include <cstdint>

namespace tw {

class bf16 {
 public:
  constexpr bf16() = default;
  constexpr explicit bf16(float value) : bits_(rounded(std::bit_cast<std::uint32_t>(value))) {}
  constexpr explicit operator float() const { return std::bit_cast<float>(std::uint32_t{bits_} << 16); }

  static constexpr bf16 from_bits(std::uint16_t bits) {
    bf16 value;
    value.bits_ = bits;
    return value;
  }
  constexpr std::uint16_t bits() const { return bits_; }

 private:
  // Adding 0x7fff, or 0x8000 where the kept part is odd, carries exactly when nearest-even rounds up.
  static constexpr std::uint16_t rounded(std::uint32_t bits) {
    const bool nan = (bits & 0x7fff'ffffU) > 0x7f80'0000U;
    const std::uint32_t up = nan ? 0x0040'0000U | bits : bits + 0x7fffU + ((bits >> 16) & 1U);
    return static_cast<std::uint16_t>(up >> 16);
  }

  std::uint16_t bits_ = 0;
};
static_assert(sizeof(bf16) == 2);

}  // namespace tw
