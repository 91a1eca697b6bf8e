#include "topology/units.hpp"

#include <gtest/gtest.h>

namespace tw {
namespace {

TEST(Units, ParsesQuantitiesWithUnits) {
  EXPECT_EQ(parse_unit<Bytes>("80 GiB").value->count, 85899345920);          // 80 * 2^30
  EXPECT_EQ(parse_unit<Bytes>("80 GB").value->count, 80000000000);           // 80 * 10^9
  EXPECT_DOUBLE_EQ(parse_unit<BytesPerSec>("400 Gb/s").value->value, 50e9);  // bits over 8
  EXPECT_DOUBLE_EQ(parse_unit<BytesPerSec>("450 GB/s").value->value, 450e9);
  EXPECT_DOUBLE_EQ(parse_unit<Seconds>("2.5 us").value->value, 2.5e-6);
  EXPECT_DOUBLE_EQ(parse_unit<Seconds>("30 d").value->value, 2592000);
  EXPECT_DOUBLE_EQ(parse_unit<FlopsPerSec>("989 TFLOP/s").value->value, 989e12);
  EXPECT_EQ(parse_count("15T tokens", "tokens").value, 15'000'000'000'000);
  EXPECT_EQ(parse_count("512", "GPUs").value, 512);
}

TEST(Units, RefusesBareNumbersWrongUnitsAndNonsense) {
  EXPECT_NE(parse_unit<Bytes>("0").error.find("bare number"), std::string::npos);
  EXPECT_NE(parse_unit<Bytes>("80 GB/s").error.find("wrong unit"), std::string::npos);
  EXPECT_NE(parse_unit<BytesPerSec>("450 gb/s").error.find("wrong unit"), std::string::npos);
  for (const char* text :
       {"", "GiB", "-1 GiB", "-0 B", "nan GiB", "inf B", "1e400 B", "0.3 B", "99999999999 TiB"}) {
    EXPECT_FALSE(parse_unit<Bytes>(text).value) << text;
  }
  for (const char* text : {"0", "1.5", "-3", "4 q", "1e30"})
    EXPECT_FALSE(parse_count(text, "GPUs").value) << text;
}

TEST(Units, PrintsTheLargestUnitThatReadsBackExactly) {
  EXPECT_EQ(to_string(gib(80)), "80 GiB");
  EXPECT_EQ(to_string(Bytes(80000000000)), "80 GB");
  EXPECT_EQ(to_string(Bytes(0)), "0 B");
  EXPECT_EQ(to_string(microseconds(2.5)), "2.5 us");
  EXPECT_EQ(to_string(BytesPerSec(450e9)), "450 GB/s");
}

}  // namespace
}  // namespace tw
