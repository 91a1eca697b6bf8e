#include "kernels/bf16.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace tw {
namespace {

TEST(Bf16, RoundsToNearestEven) {
  // 1 has the bits 0x3f80 and its neighbour above is 1 + 2^-7.
  EXPECT_EQ(bf16(1.0F).bits(), 0x3f80);
  EXPECT_EQ(bf16(1 + 0x1p-8F).bits(), 0x3f80);             // a tie: to the even one below
  EXPECT_EQ(bf16(1 + 0x1p-8F + 0x1p-20F).bits(), 0x3f81);  // just above the tie
  EXPECT_EQ(bf16(1 + 3 * 0x1p-8F).bits(), 0x3f82);         // a tie: to the even one above
  EXPECT_EQ(bf16(-1 - 3 * 0x1p-8F).bits(), 0xbf82);
  EXPECT_EQ(bf16(2 - 0x1p-9F).bits(), 0x4000);  // the carry goes into the exponent
}

TEST(Bf16, KeepsZeroesInfinitiesAndNaN) {
  EXPECT_EQ(bf16(0.0F).bits(), 0x0000);
  EXPECT_EQ(bf16(-0.0F).bits(), 0x8000);
  EXPECT_EQ(bf16(std::numeric_limits<float>::infinity()).bits(), 0x7f80);
  EXPECT_EQ(bf16(std::numeric_limits<float>::max()).bits(), 0x7f80);
  // A NaN whose payload is only in the bits that are cut off must not become an infinity.
  EXPECT_TRUE(std::isnan(static_cast<float>(bf16(std::bit_cast<float>(0x7f80'0001U)))));
  EXPECT_TRUE(std::isnan(static_cast<float>(bf16(std::bit_cast<float>(0xffff'ffffU)))));
}

TEST(Bf16, EveryValueComesBack) {
  for (std::uint32_t bits = 0; bits < 0x1'0000U; ++bits) {
    const auto value = static_cast<float>(bf16::from_bits(static_cast<std::uint16_t>(bits)));
    if (!std::isnan(value)) {
      EXPECT_EQ(bf16(value).bits(), bits);
    }
  }
}

}  // namespace
}  // namespace tw
